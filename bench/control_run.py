"""`python -m bench.control_run`: what a control arm finds, and falsely alarms, with real processes.

One real `serinus serve`; rollouts by latency alone of an equal candidate and of one whose batches
take half as long again, with and without a control arm, where replicas are nearly idle and where
they queue. Writes `results/control_run.json`, and from it its table of docs/why/evidence.md.
Exit code 0 when every rollout was watched to its end, whatever became of it.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.answers import Payload, http_request
from bench.control_models import CAPACITY, body, steady
from bench.evidence_page import CONTROL_RUN, all_results, write_page
from bench.evidence_tables import TABLES, cells
from bench.load import Job
from bench.machine import describe, noise_ms
from bench.rollout_server import Server, serving

_ROOT = Path(__file__).resolve().parents[1]
_WORK = _ROOT / "bench" / ".work"
_SERVING = "/api/2.0/serving-endpoints"
_POLL_S = 0.25
_WITHIN_S = 120.0
_SLOWER = 1.5
_STABLE, _SAME, _WORSE = "steady", "steady-again", "steady-slower"
#: The equal one is slower by a millionth: it has to be another model.
_VERSIONS = {_STABLE: 1.0, _SAME: 1.000001, _WORSE: _SLOWER}
#: Requests per second and how long a rollout is watched. The quiet ones cost the machine nothing
#: and run at the same time, the busy ones one after another.
_LOADS = {"low": (150.0, 40.0), "high": (600.0, 20.0)}
_SPEC = {
    "steps": [{"set_weight": "20%"}, {"set_weight": "50%"}],
    "step": {"min_duration": "2s", "warmup": "1s"},
    "guardrails": [{"latency": {}}],
}
_OVER = ("SUCCEEDED", "ROLLED_BACK", "FAILED")


@dataclass(frozen=True, slots=True)
class Setting:
    """One rollout to watch."""

    load: str
    control: bool
    slower: float
    round: int

    @property
    def endpoint(self) -> str:
        """A name of its own, so that no evidence is carried over."""
        arm = "control" if self.control else "plain"
        return f"{self.load}-{arm}-{self.slower * 10:.0f}-{self.round}"


@dataclass(frozen=True, slots=True)
class Watched:
    """What became of it."""

    load: str
    #: Part of what a replica with full batches could carry.
    part: float
    control: bool
    slower: float
    round: int
    #: ``promoted``, ``rolled back`` or ``held``.
    outcome: str
    #: From the moment every gateway served by the first step.
    seconds: float
    #: Requests that users made in that time, and those that the candidate answered.
    requests: int
    candidate_requests: int
    reason: str


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m bench.control_run", description=__doc__)
    parser.add_argument("--rounds", type=int, default=1, help="of all eight rollouts")
    parser.add_argument("--out", type=Path, default=CONTROL_RUN, help="results file")
    arguments = parser.parse_args()
    machine, at, noise = describe(), datetime.now(UTC), [noise_ms()]
    _WORK.mkdir(exist_ok=True)
    for name, slower in _VERSIONS.items():
        steady(name, slower, _WORK)
    watched = [each for number in range(arguments.rounds) for each in _round(number)]
    noise.append(noise_ms())
    report = {
        "date": at.isoformat(timespec="seconds"),
        "machine": machine,
        "noise_ms": [round(value, 2) for value in noise],
        "rollouts": [asdict(each) for each in watched],
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if arguments.out == CONTROL_RUN:
        write_page(all_results())
    _show(report)
    return 0


def _round(number: int) -> Iterator[Watched]:
    """Each setting once, on a server of its own."""
    settings = {
        load: [
            Setting(load, control, slower, number)
            for slower in (1.0, _SLOWER)
            for control in (False, True)
        ]
        for load in _LOADS
    }
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as name,
        serving(Path(name), _WORK / "control_run.log") as server,
        ThreadPoolExecutor() as pool,
    ):
        yield from pool.map(lambda each: _watch(server.port, each), settings["low"])
        yield from (_watch(server.port, each) for each in settings["high"])


def _watch(port: int, setting: Setting) -> Watched:
    """One rollout on an endpoint of its own, from nothing to its end."""
    server, endpoint = Server(port), setting.endpoint
    rate, seconds = _LOADS[setting.load]
    candidate = _WORSE if setting.slower > 1 else _SAME
    _create(server, endpoint, _model(_STABLE))
    path = f"/api/serinus/v1/endpoints/{endpoint}/rollouts"
    with _loaded(port, endpoint, rate):
        wanted = {
            "candidate": str(_model(candidate)),
            "control": setting.control,
            **_SPEC,
        }
        server.call("POST", path, wanted)
        shown = _until(server, path, lambda shown: bool(shown["weight_bp"] and shown["stage_at"]))
        began = _moment(shown["stage_at"])
        give_up_at = time.monotonic() + seconds
        while shown["phase"] not in _OVER and time.monotonic() < give_up_at:
            time.sleep(_POLL_S)
            shown = server.call("GET", f"{path}/current")
        if shown["phase"] not in _OVER:
            shown |= {"ended_at": None, "reason": shown["waiting_for"] or shown["why"]}
        counts = server.call("GET", f"{path}/current/evidence")["counts"]
    ended = _moment(shown["ended_at"]) if shown["ended_at"] else datetime.now(UTC)
    if shown["phase"] not in _OVER:
        server.call("POST", f"{path}/current/abort")
        _until(server, path, lambda shown: shown["phase"] == "ROLLED_BACK")
    server.call("DELETE", f"{_SERVING}/{endpoint}")
    names = {"SUCCEEDED": "promoted", "ROLLED_BACK": "rolled back"}
    live = [stage["arms"] for stage in counts if stage["weight_bp"]]
    return Watched(
        setting.load,
        round(rate / CAPACITY, 2),
        setting.control,
        setting.slower,
        setting.round,
        names.get(shown["phase"], "held"),
        round((ended - began).total_seconds(), 1),
        sum(arm["requests"] for stage in live for arm in stage.values()),
        sum(stage["candidate"]["requests"] for stage in live),
        shown["reason"],
    )


def _model(name: str) -> Path:
    return steady(name, _VERSIONS[name], _WORK)


def _create(server: Server, endpoint: str, model: Path) -> None:
    entity = {"name": "v-1", "entity_name": str(model)}
    server.call("POST", _SERVING, {"name": endpoint, "config": {"served_entities": [entity]}})
    give_up_at = time.monotonic() + _WITHIN_S
    while server.call("GET", f"{_SERVING}/{endpoint}")["state"]["config_update"] == "IN_PROGRESS":
        if time.monotonic() > give_up_at:
            raise RuntimeError(f"{endpoint} was not served; see the server's log")
        time.sleep(_POLL_S)


def _until(server: Server, path: str, condition: Any) -> dict[str, Any]:
    give_up_at = time.monotonic() + _WITHIN_S
    while True:
        shown: dict[str, Any] = server.call("GET", f"{path}/current")
        if condition(shown):
            return shown
        if shown["phase"] in _OVER:
            raise RuntimeError(f"it ended before it began: {json.dumps(shown)[:1500]}")
        if time.monotonic() > give_up_at:
            raise RuntimeError(f"it never came to that: {json.dumps(shown)[:1500]}")
        time.sleep(_POLL_S)


@contextmanager
def _loaded(port: int, endpoint: str, rate: float) -> Iterator[None]:
    """An open loop at that rate for as long as the block lasts."""
    path = f"/serving-endpoints/{endpoint}/invocations"
    payload = Payload(http_request("POST", path, "localhost", body()), predictions=[1.0])
    job = Job("127.0.0.1", port, [payload], 64, seconds=600.0, rate=rate)
    with subprocess.Popen(
        [sys.executable, "-m", "bench.load"], cwd=_ROOT, stdin=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        process.stdin.write(json.dumps(job.to_json()))
        process.stdin.close()
        try:
            yield
            if process.poll() is not None:
                raise RuntimeError("the load generator ended before the rollout did")
        finally:
            process.kill()


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _show(report: dict[str, Any]) -> None:
    console = Console() if Console().is_terminal else Console(width=150)
    table = TABLES["control-run"]
    shown = Table(*table.header, title="Latency alone, with real processes")
    for row in cells(table, {"control_run": [report]}):
        shown.add_row(*row)
    console.print(shown)
    for each in report["rollouts"]:
        arm = "control" if each["control"] else "no control"
        name = f"{each['load']}, {arm}, {each['slower']:g} x"
        console.print(f"{name}: {each['outcome']} after {each['seconds']} s: {each['reason']}")


if __name__ == "__main__":
    raise SystemExit(main())
