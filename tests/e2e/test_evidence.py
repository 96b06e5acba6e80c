"""Verdicts from real traffic: the worse goes back, the odd one waits, the same one passes."""

import queue
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.load import Line
from tests.e2e.running import Running, eventually, running
from tests.models import saved

BASE = "/api/serinus/v1/endpoints"
SPEC: dict[str, Any] = {
    "steps": [{"set_weight": "20%"}, {"set_weight": "50%"}],
    "step": {"min_duration": "2s", "warmup": "1s"},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("evidence")) as server:
        yield server


def _ask(server: Running, endpoint: str, seed: int, until: threading.Event) -> None:
    draw = random.Random(seed)  # noqa: S311 - a test's traffic
    with closing(Line(server)) as line:
        while not until.is_set():
            x = 100 + draw.randrange(100)
            rows = {"columns": ["x", "y"], "data": [[x, draw.random()]]}
            line.ask(endpoint, {"dataframe_split": rows})


@contextmanager
def _traffic(server: Running, endpoint: str) -> Iterator[None]:
    until = threading.Event()
    askers = [
        threading.Thread(target=_ask, args=(server, endpoint, seed, until)) for seed in range(6)
    ]
    for asker in askers:
        asker.start()
    try:
        yield
    finally:
        until.set()
        for asker in askers:
            asker.join(60)


#: When it is known, the id of the request, and whether its answer was right.
_Known = tuple[float, dict[str, object]]


def _ask_and_learn(
    server: Running, endpoint: str, seed: int, until: threading.Event, known: "queue.Queue[_Known]"
) -> None:
    """Ask, and find out a second later whether the answer was right: the label is 1."""
    draw = random.Random(seed)  # noqa: S311 - a test's traffic
    with closing(Line(server)) as line:
        for number in count():
            if until.is_set():
                return
            rows = {"columns": ["x", "y"], "data": [[100 + draw.randrange(100), draw.random()]]}
            own = f"{seed}-{number}"
            answer = line.ask(endpoint, {"dataframe_split": rows, "client_request_id": own})
            if answer.status != 200:
                continue
            label: dict[str, object] = {"value": answer.json()["predictions"] == [1]}
            # Half of the clients go by their own ids, half by those of the gateway.
            if seed % 2:
                label["client_request_id"] = own
            else:
                label["request_id"] = answer.headers["x-request-id"]
            known.put((time.monotonic() + 1.0, label))


@contextmanager
def _labelled_traffic(server: Running, endpoint: str, told: Counter[str]) -> Iterator[None]:
    """Traffic whose outcomes are told late, some twice; ``told`` counts the answers."""
    until, known = threading.Event(), queue.Queue[_Known]()

    def tell() -> None:
        with httpx.Client(base_url=server.url, timeout=30, trust_env=False) as http:
            while not until.is_set():
                time.sleep(0.2)
                labels = [{"request_id": "nobody-1", "value": 1}]
                while not known.empty() and known.queue[0][0] <= time.monotonic():
                    labels.append(known.get()[1])
                answer = http.post(f"{BASE}/{endpoint}/outcomes", json={"outcomes": labels})
                assert answer.status_code == 200, answer.text
                told.update(answer.json()["results"])

    threads = [
        threading.Thread(target=_ask_and_learn, args=(server, endpoint, seed, until, known))
        for seed in range(6)
    ]
    threads.append(threading.Thread(target=tell))
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        until.set()
        for thread in threads:
            thread.join(60)


def _roll_out(server: Running, name: str, candidate: Path, phase: str) -> dict[str, Any]:
    """Roll ``candidate`` out over ``candidate-same`` under traffic until it is in ``phase``."""
    server.create(name, {"v-1": (saved("candidate-same"), 100)})
    with _traffic(server, name):
        started = server.http.post(
            f"{BASE}/{name}/rollouts", json={"candidate": str(candidate), **SPEC}
        )
        assert started.status_code == 200, started.text

        def there() -> dict[str, Any] | None:
            shown: dict[str, Any] = server.http.get(f"{BASE}/{name}/rollouts/current").json()
            over = shown["phase"] in ("SUCCEEDED", "ROLLED_BACK", "FAILED")
            return shown if over or shown["phase"] == phase else None

        shown = eventually(there, within_s=150, what=f"{phase} of {name}")
    assert shown["phase"] == phase, shown["reason"]
    replayed = server.http.get(f"{BASE}/{name}/rollouts/{shown['id']}/replay").json()
    assert replayed["stands"], [each["against"] for each in replayed["decisions"]]
    assert replayed["judged"] > 0
    server.http.delete(f"/api/2.0/serving-endpoints/{name}")
    return shown


def test_a_candidate_that_fails_is_rolled_back(server: Running) -> None:
    shown = _roll_out(server, "fails", saved("candidate-fails"), "ROLLED_BACK")
    assert shown["reason"].startswith("error_rate regressed")
    assert "errors fell on the candidate" in shown["reason"]


def test_a_slower_candidate_is_rolled_back(server: Running) -> None:
    shown = _roll_out(server, "slow", saved("candidate-slow"), "ROLLED_BACK")
    assert shown["reason"].startswith("latency regressed")


def test_a_candidate_that_predicts_otherwise_is_held(server: Running) -> None:
    shown = _roll_out(server, "flips", saved("candidate-flips"), "PAUSED")
    assert "predictions" in shown["reason"] + shown["waiting_for"]
    assert 0 < shown["weight_bp"] < 10_000


def test_an_identical_candidate_is_promoted(server: Running) -> None:
    shown = _roll_out(server, "same", saved("candidate-again"), "SUCCEEDED")
    verdicts = {each["name"]: each["verdict"] for each in shown["guardrails"]}
    assert set(verdicts) == {"error_rate", "latency", "predictions"}
    assert "REGRESSED" not in verdicts.values()


def test_labels_that_come_late_pass_the_same_and_turn_back_the_worse(server: Running) -> None:
    server.create("labelled", {"v-1": (saved("candidate-same"), 100)})
    accuracy = {"metric": "accuracy", "max_drop": "20%", "label_window": "3s"}
    spec = {
        "steps": [{"set_weight": "50%"}],
        "step": {"min_duration": "2s", "warmup": "1s"},
        "guardrails": [{"quality": accuracy}],
    }
    told: Counter[str] = Counter()

    def ended(start: dict[str, Any]) -> dict[str, Any]:
        started = server.http.post(f"{BASE}/labelled/rollouts", json={**start, **spec})
        assert started.status_code == 200, started.text

        def over() -> dict[str, Any] | None:
            shown: dict[str, Any] = server.http.get(f"{BASE}/labelled/rollouts/current").json()
            return shown if shown["phase"] in ("SUCCEEDED", "ROLLED_BACK", "PAUSED") else None

        shown = eventually(over, within_s=100, what="the end of a labelled rollout")
        replayed = server.http.get(f"{BASE}/labelled/rollouts/{shown['id']}/replay").json()
        assert replayed["stands"], [each["against"] for each in replayed["decisions"]]
        return shown

    with _labelled_traffic(server, "labelled", told):
        # Stable against itself, through the real gateway: the gate must find nothing.
        same = ended({"self_test": True})
        worse = ended({"candidate": str(saved("candidate-flips-half"))})
    assert same["phase"] == "SUCCEEDED", same["reason"]
    assert same["self_test"]["passed"], same["self_test"]
    assert same["self_test"]["looks"] > 0
    assert [each["verdict"] for each in same["guardrails"]] == ["SAFE"]
    assert worse["phase"] == "ROLLED_BACK", worse["reason"]
    assert worse["reason"].startswith("quality:accuracy regressed"), worse["reason"]
    assert told["accepted"] > 100
    assert told["unknown"] > 0
    config = server.get("labelled")["config"]
    assert [each["name"] for each in config["served_entities"]] == ["v-1"]
