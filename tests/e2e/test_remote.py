"""A served entity that is another scoring endpoint, by its URL, beside a model of our own."""

import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from tests.e2e.running import Running, free_port, running
from tests.models import saved

NOBODY = free_port()
ROWS = {"dataframe_split": {"columns": ["x", "y"], "data": [[1.0, 0.0], [2.0, 0.0]]}}


class Elsewhere(BaseHTTPRequestHandler):
    """A scoring server that somebody else runs."""

    protocol_version = "HTTP/1.1"
    seen: ClassVar[Counter[str]] = Counter()

    def do_POST(self) -> None:
        self.seen[self.headers.get("authorization", "")] += 1
        rows = json.loads(self.rfile.read(int(self.headers["content-length"])))
        body = json.dumps({"predictions": [7.0] * len(rows["dataframe_split"]["data"])}).encode()
        moved = self.path == "/moved/invocations"
        self.send_response(307 if moved else 200)
        self.send_header("location", "/right/invocations")
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, elsewhere: str) -> Iterator[Running]:
    hosts = {"SERINUS_REMOTE_HOSTS": f"{elsewhere.removeprefix('http://')}, 127.0.0.1:{NOBODY}"}
    with running(tmp_path_factory.mktemp("remote"), environ=hosts) as server:
        yield server


def test_a_split_spans_a_model_here_and_an_endpoint_elsewhere(
    server: Running, elsewhere: str
) -> None:
    body = {
        "name": "both",
        "config": {
            "served_entities": [
                {"name": "here", "entity_name": str(saved("version-1"))},
                {
                    "name": "there",
                    "entity_name": f"{elsewhere}/right/invocations",
                    "environment_vars": {"REMOTE_TOKEN": "sesame", "REMOTE_DEADLINE": "20"},
                },
            ],
            "traffic_config": {
                "routes": [
                    {"served_model_name": "here", "traffic_percentage": 50},
                    {"served_model_name": "there", "traffic_percentage": 50},
                ]
            },
        },
    }
    assert server.http.post("/api/2.0/serving-endpoints", json=body).status_code == 200
    server.wait("both")
    by: Counter[str] = Counter()
    for _ in range(60):
        answer = server.ask("both", ROWS)
        assert answer.status_code == 200, answer.text
        name = answer.headers["served-model-name"]
        by[name] += 1
        assert (answer.json()["predictions"] == [7.0, 7.0]) == (name == "there")
    assert by["here"] > 10
    assert by["there"] > 10
    assert Elsewhere.seen["Bearer sesame"] == by["there"]
    assert "sesame" not in json.dumps(server.get("both"))
    assert server.http.get("/api/serinus/v1/endpoints/both/skew").status_code == 200
    assert server.http.get("/api/serinus/v1/endpoints/both/verification").status_code == 200
    assert server.http.post("/api/serinus/v1/endpoints/both/diagnosis").status_code == 200


def test_a_redirect_is_not_followed(server: Running, elsewhere: str) -> None:
    server.create("moved", {"there": (f"{elsewhere}/moved/invocations", 100)})
    answer = server.ask("moved", ROWS)
    assert answer.status_code == 500
    assert "redirect, which is not followed" in answer.json()["message"]


def test_a_host_that_is_not_listed_is_never_called(server: Running) -> None:
    body = {
        "name": "inside",
        "config": {"served_entities": [{"name": "x", "entity_name": "http://169.254.169.254/x"}]},
    }
    answer = server.http.post("/api/2.0/serving-endpoints", json=body)
    assert answer.status_code == 400, answer.text
    assert "SERINUS_REMOTE_HOSTS=169.254.169.254:80" in answer.json()["message"]
    assert server.http.get("/api/2.0/serving-endpoints/inside").status_code == 404


def test_a_secret_reaches_the_other_side_and_nothing_else(server: Running, elsewhere: str) -> None:
    secret = "open-" + "sesame-17"
    reference = "{{secrets/shop/token}}"
    there = {"name": "there", "entity_name": f"{elsewhere}/right/invocations"}
    body = {
        "name": "kept",
        "config": {"served_entities": [{**there, "environment_vars": {"REMOTE_TOKEN": reference}}]},
    }
    refused = server.http.post("/api/2.0/serving-endpoints", json=body)
    assert refused.status_code == 400
    assert "secret shop/token" in refused.json()["message"]
    put = [sys.executable, "-m", "serinus", "secret", "put", "shop", "token", "--home"]
    subprocess.run([*put, str(server.home)], input=secret, text=True, check=True, timeout=60)
    assert server.http.post("/api/2.0/serving-endpoints", json=body).status_code == 200
    shown = server.wait("kept")
    assert server.ask("kept", ROWS).status_code == 200
    assert Elsewhere.seen[f"Bearer {secret}"] == 1
    assert reference in json.dumps(shown)
    told = [
        server.http.get(f"/api/serinus/v1/{path}").text
        for path in ("audit", "endpoints/kept/configs")
    ]
    assert secret not in json.dumps(shown) + "".join(told)
    holding = [
        each.relative_to(server.home).as_posix()
        for each in server.home.rglob("*")
        if each.is_file() and secret.encode() in each.read_bytes()
    ]
    assert holding == ["secrets/shop/token"]
    assert secret not in server.log.read_text()


def test_one_that_can_not_be_reached_is_named_and_says_when_to_come_back(server: Running) -> None:
    server.create("gone", {"there": (f"http://127.0.0.1:{NOBODY}/invocations", 100)})
    answer = server.ask("gone", ROWS)
    assert answer.status_code == 503
    assert f"127.0.0.1:{NOBODY} can't be reached" in answer.json()["message"]
    assert answer.headers["retry-after"] == "1"
