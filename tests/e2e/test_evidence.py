"""Verdicts from real traffic: the worse goes back, the odd one waits, the same one passes."""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

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
    path = f"/serving-endpoints/{endpoint}/invocations"
    with httpx.Client(base_url=server.url, timeout=30, trust_env=False) as http:
        while not until.is_set():
            x = 100 + draw.randrange(100)
            rows = {"columns": ["x", "y"], "data": [[x, draw.random()]]}
            http.post(path, json={"dataframe_split": rows})


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
