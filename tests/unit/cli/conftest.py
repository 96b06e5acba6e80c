"""A stand-in server: the REST shapes of endpoints in memory, enough to drive the commands."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

Json = dict[str, Any]


@dataclass
class StandIn:
    """Its endpoints, and what it was asked."""

    url: str = ""
    endpoints: dict[str, Json] = field(default_factory=dict)
    #: (method, path, body) of every request.
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    #: GETs of one endpoint that still answer IN_PROGRESS; negative: for ever.
    polls: int = 0
    fails: str = ""
    #: What one GET of a rollout after the other answers; the last one for ever.
    rollouts: list[Json] = field(default_factory=list)
    #: (status, error) instead of any answer about rollouts.
    refusal: tuple[int, Json] | None = None
    entries: list[Json] = field(default_factory=list)
    #: What one call about verifications after the other answers; the last one for ever.
    verifications: list[list[Json]] = field(default_factory=list)
    #: What replays and policies answer.
    replayed: Json = field(default_factory=dict)
    policy: Json = field(default_factory=dict)
    #: The diagnosis, and the values of sampled keys.
    diagnosis: Json = field(default_factory=dict)
    keys: list[Json] = field(default_factory=list)
    #: Who each request was sent for, as live queries say it.
    callers: list[str | None] = field(default_factory=list)
    #: Who each request said that it came from.
    actors: list[str | None] = field(default_factory=list)

    def apply(self, name: str, config: Json) -> Json:
        """Take a config as pending."""
        self.endpoints[name] = {
            **self.endpoints.get(name, {"name": name}),
            "state": {"ready": "NOT_READY", "config_update": "IN_PROGRESS"},
            "pending_config": {"config_version": 1, **_with_state(config, "CREATING", "Building")},
        }
        return self.endpoints[name]

    def look(self, name: str) -> Json:
        """One GET: perhaps the update is over now."""
        endpoint = self.endpoints[name]
        if self.polls == 0 and "pending_config" in endpoint:
            pending = endpoint["pending_config"]
            if self.fails:
                endpoint["pending_config"] = _with_state(pending, "FAILED", self.fails)
                endpoint["state"] = {"ready": "NOT_READY", "config_update": "UPDATE_FAILED"}
            else:
                endpoint["config"] = _with_state(endpoint.pop("pending_config"), "READY", "")
                endpoint["state"] = {"ready": "READY", "config_update": "NOT_UPDATING"}
        self.polls -= 1 if self.polls > 0 else 0
        return endpoint


def _with_state(config: Json, deployment: str, message: str) -> Json:
    state = {"deployment": f"DEPLOYMENT_{deployment}", "deployment_state_message": message}
    entities = [{**each, "state": state} for each in config["served_entities"]]
    return {**config, "served_entities": entities}


def rollout(phase: str = "PROGRESSING", weight_bp: int = 500, **more: Any) -> Json:
    """A rollout as the API shows it."""
    verdict = {"name": "latency", "verdict": "UNDECIDED", "reason": "p99 [ms] is open"}
    return {
        "id": "r1",
        "endpoint": "m",
        "strategy": "canary",
        "phase": phase,
        "reason": f"The candidate takes {weight_bp / 100:g}%.",
        "cause": None,
        "stable": "m-1",
        "candidate": "m-2",
        "weight_bp": weight_bp,
        "shadow_bp": 0,
        "stage": 2,
        "step": 1,
        "steps": [{"set_weight": f"{weight}%"} for weight in (1, 5, 100)],
        "position": "steps",
        "guardrails": [verdict],
        "waiting_for": "latency to be SAFE",
        "why": "PROGRESSING: why it is so.",
        "created_by": "ada",
        "started_at": "2026-03-01T12:00:00Z",
        "stage_age_s": 75.0,
        **more,
    }


def _rollouts(server: StandIn, method: str, parts: list[str]) -> tuple[int, Any]:
    """Our own calls: ``parts`` are what follows the endpoint's name."""
    if server.refusal is not None:
        return server.refusal
    if parts[-1].startswith("journal"):
        after = int(parts[-1].split("after=")[1].split("&")[0])
        return 200, {"entries": [each for each in server.entries if each["id"] > after]}
    if parts[-1] == "verification":
        more = len(server.verifications) > 1
        found = server.verifications.pop(0) if more else server.verifications[0]
        return 200, {"policy": "required", "verifications": found}
    if parts[-1] == "diagnosis":
        return 200, server.diagnosis
    if parts[-1].startswith("keys?"):
        return 200, {"keys": server.keys}
    if parts[-1] in ("replay", "policy"):
        return 200, server.replayed if parts[-1] == "replay" else server.policy
    if method == "GET" and parts[-1].startswith("rollouts"):
        return 200, {"rollouts": server.rollouts}
    if method == "GET" and len(server.rollouts) > 1:
        return 200, server.rollouts.pop(0)
    return 200, server.rollouts[0]


def _answer(server: StandIn, method: str, path: str, body: Any) -> tuple[int, Any]:
    parts = path.strip("/").split("/")
    if path.startswith("/api/serinus/v1/endpoints/"):
        return _rollouts(server, method, parts[5:])
    if path == "/health":
        return 200, {}
    if parts[:2] == ["serving-endpoints", "absent"]:
        message = "Endpoint with name 'absent' does not exist."
        return 404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": message}
    if parts[0] == "serving-endpoints":
        return 200, {"predictions": [[0.25, 0.75], [0.5, 0.5]]}
    name = parts[3] if len(parts) > 3 else ""
    if name and name not in server.endpoints:
        message = f"Endpoint with name '{name}' does not exist."
        return 404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": message}
    if method == "POST":
        return 200, server.apply(body["name"], body["config"])
    if method == "PUT":
        return 200, server.apply(name, body)
    if method == "DELETE":
        del server.endpoints[name]
        return 200, {}
    return 200, server.look(name) if name else {"endpoints": list(server.endpoints.values())}


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """The stand-in, listening; commands find it through SERINUS_SERVER."""
    server = StandIn()

    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            server.asked.append((self.command, self.path, body))
            server.actors.append(self.headers.get("x-serinus-actor"))
            server.callers.append(self.headers.get("x-caller"))
            status, document = _answer(server, self.command, self.path, body)
            content = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.send_header("served-model-name", "m-2")
            self.send_header("x-request-id", "r-1")
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = _do  # noqa: N815 - the names its parent looks for

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its parent's name
            """Stay silent."""

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{listener.server_port}"
    monkeypatch.setenv("SERINUS_SERVER", server.url)
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    listener.shutdown()
    thread.join()
    listener.server_close()


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CliRunner:
    """Runs commands in an empty directory on a terminal of known width."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")
    # MLflow puts into the environment what a process was told of its store.
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return CliRunner()
