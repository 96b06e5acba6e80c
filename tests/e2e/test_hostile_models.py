"""A running server bears models that do harm: tests 10, 26 and 42-46 as callers meet them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.running import Running, eventually, running
from tests.hostile import row, save


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("hostile")
    environ = {"SERINUS_REPLICA_MEMORY": "600MiB", "SERINUS_START_DEADLINE": "20s"}
    environ["SERINUS_ENVIRONMENTS"] = "current"
    with running(directory, environ=environ) as server:
        model = save(directory / "model")
        server.create("wild", {"w-1": (model, 100)}, replicas=2)
        server.create("tame", {"t-1": (model, 100)})
        yield server


def _entity(server: Running, name: str) -> dict[str, Any]:
    found: dict[str, Any] = server.get(name)["config"]["served_entities"][0]["state"]
    return found


def _whole(server: Running) -> None:
    """Wait until both replicas are there again."""
    eventually(lambda: _entity(server, "wild")["deployment"] == "DEPLOYMENT_READY", within_s=120)


def _tame(server: Running) -> None:
    answer = server.ask("tame", row("double", 4.0))
    assert (answer.status_code, answer.json()["predictions"]) == (200, [8.0])


def test_40_an_answer_that_can_not_be_sent_is_a_400_that_no_client_repeats(server: Running) -> None:
    answer = server.ask("wild", row("gigabyte"))
    assert (answer.status_code, answer.json()["error_code"]) == (400, "BAD_REQUEST")
    assert answer.json()["details"] == [{"cause": "MODEL_ANSWER"}]
    assert answer.headers["served-model-name"] == "w-1"
    odd = server.ask("wild", row("odd"))
    assert odd.json() == {"predictions": [None]}


def test_26_a_payload_that_kills_is_refused_after_two_replicas(server: Running) -> None:
    _whole(server)
    poison = row("segv", 7.0)
    first = server.ask("wild", poison)
    assert (first.status_code, "Two replicas" in first.text) == (503, True)
    # Refused at once, also while nobody is there to be asked.
    for _ in range(3):
        again = server.ask("wild", poison)
        assert (again.status_code, again.json()["error_code"]) == (400, "BAD_REQUEST")
        assert again.json()["details"][0]["cause"] == "QUARANTINED"
    _tame(server)
    eventually(lambda: "SIGSEGV" in _entity(server, "wild")["deployment_state_message"])
    _whole(server)
    assert server.ask("wild", poison).status_code == 400
    assert server.ask("wild", row("double", 7.0)).json() == {"predictions": [14.0]}


def test_10_memory_over_the_limit_is_called_oom_in_the_state(server: Running) -> None:
    _whole(server)
    answer = server.ask("tame", row("memory"))
    assert answer.status_code == 503
    message = eventually(
        lambda: (
            text if "OOM" in (text := _entity(server, "tame")["deployment_state_message"]) else None
        ),
    )
    assert "more than its limit of 600 MiB (replica_memory)" in message
    assert server.ask("wild", row("double", 1.5)).json() == {"predictions": [3.0]}
    eventually(lambda: server.ask("tame", row("double")).status_code == 200)


def test_46_a_model_whose_import_never_ends_gets_no_traffic(
    server: Running, tmp_path: Path
) -> None:
    hanging = save(tmp_path / "hanging", "hang")
    server.update("tame", {"t-2": (hanging, 100)})
    _tame(server)
    shown = server.wait("tame", "UPDATE_FAILED")
    assert "was not ready 20 s after the start" in str(shown)
    answer = server.ask("tame", row("double", 4.0))
    assert (answer.status_code, answer.headers["served-model-name"]) == (200, "t-1")


def test_42_a_model_that_exits_at_import_is_backed_off_and_never_serves(
    server: Running, tmp_path: Path
) -> None:
    leaving = save(tmp_path / "leaving", "exit")
    server.update("tame", {"t-3": (leaving, 100)})
    shown = server.wait("tame", "UPDATE_FAILED")
    assert "ended by itself (exit code 0)" in str(shown)
    _tame(server)
