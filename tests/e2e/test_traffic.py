"""Who answers, and whether the split is what was asked, on a running server under load."""

import math
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.load import ROW, shares, traffic
from tests.e2e.running import Running, eventually, running
from tests.models import saved

#: Two-sided 99.9 % of the normal distribution.
Z = 3.2905


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    once = {"UV_HTTP_RETRIES": "0"}
    with running(tmp_path_factory.mktemp("traffic"), "--gateways", "2", environ=once) as server:
        server.create("split", {"v-1": (saved("version-1"), 99), "v-2": (saved("version-2"), 1)})
        yield server


def _serve(server: Running, percent: dict[int, int]) -> None:
    """Serve these versions, by number, with these percentages, and nothing else any more."""
    served = {
        f"v-{number}": (saved(f"version-{number}"), share) for number, share in percent.items()
    }
    server.update("split", served)
    server.wait("split")
    eventually(lambda: len(server.children("replica.main")) == len(percent), what="the retirements")


@pytest.mark.parametrize("percent", [1, 10, 50])
def test_the_observed_share_is_the_asked_one(server: Running, percent: int) -> None:
    _serve(server, {1: 100 - percent, 2: percent})
    seen = shares(server, "split", 4000)
    share, asked = seen["v-2"] / seen.total(), percent / 100
    assert abs(share - asked) <= Z * math.sqrt(asked * (1 - asked) / seen.total())


def test_changed_weights_start_no_new_replica(server: Running) -> None:
    _serve(server, {1: 60, 2: 40})
    before = {process.pid for process in server.children("replica.main")}
    _serve(server, {1: 30, 2: 70})
    assert {process.pid for process in server.children("replica.main")} == before


def test_each_answer_is_that_of_the_version_in_its_header_while_the_config_changes(
    server: Running,
) -> None:
    one, two, three = (saved(f"version-{number}") for number in (1, 2, 3))
    _serve(server, {1: 100})
    with traffic(server, "split") as tally:
        for served in (
            {"v-1": (one, 50), "v-2": (two, 50)},
            {"v-2": (two, 20), "v-3": (three, 80)},
            {"v-1": (one, 100)},
            {"v-3": (three, 5), "v-2": (two, 95)},
        ):
            server.update("split", served)
            server.wait("split")
    assert tally.misattributed == []
    assert (tally.broken, dict(tally.refused)) == ([], {})
    assert set(tally.by_version) == {"v-1", "v-2", "v-3"}


def test_nobody_is_answered_by_a_version_that_left_the_config(server: Running) -> None:
    _serve(server, {1: 50, 2: 50})
    _serve(server, {1: 100})
    assert shares(server, "split", 400) == {"v-1": 400}
    assert server.ask("split", ROW, served="v-2").status_code == 404


def test_what_was_never_ready_is_not_unknown(server: Running) -> None:
    assert server.ask("never", ROW).status_code == 404
    served = {"entity_name": str(saved("unloadable")), "name": "u"}
    asked = {"name": "never", "config": {"served_entities": [served]}}
    assert server.http.post("/api/2.0/serving-endpoints", json=asked).status_code == 200
    eventually(lambda: server.ask("never", ROW).status_code != 404, what="its name in the routes")
    refused = server.ask("never", ROW)
    while refused.status_code == 503:  # for as long as waiting may help, and no longer
        assert refused.json()["error_code"] == "TEMPORARILY_UNAVAILABLE"
        assert int(refused.headers["retry-after"]) >= 1
        refused = server.ask("never", ROW)
    assert (refused.status_code, refused.json()["error_code"]) == (400, "INVALID_STATE")
    assert "its first update did not succeed" in refused.json()["message"]
    server.wait("never", "UPDATE_FAILED")
    assert server.http.get("/v2/models/never/ready").status_code == 503
    assert server.http.get("/v2/models/never/versions/u/ready").status_code == 503
    assert server.http.delete("/api/2.0/serving-endpoints/never").status_code == 200
    eventually(lambda: server.ask("never", ROW).status_code == 404, what="its end")


def test_a_failed_update_keeps_the_old_config_serving(server: Running, tmp_path: Path) -> None:
    _serve(server, {1: 100})
    with traffic(server, "split", threads=2) as tally:
        server.update("split", {"v-4": (saved("unloadable"), 100)})
        shown = server.wait("split", "UPDATE_FAILED")
    [entity] = shown["pending_config"]["served_entities"]
    assert entity["state"]["deployment"] == "DEPLOYMENT_FAILED"
    assert "the weights of this model are missing" in entity["state"]["deployment_state_message"]
    assert shown["state"]["ready"] == "READY"
    assert set(tally.by_version) == {"v-1"}
    assert (tally.broken, dict(tally.refused)) == ([], {})
    logs = server.http.get("/api/2.0/serving-endpoints/split/served-models/v-4/build-logs").json()
    assert "the weights of this model are missing" in logs["logs"]
    for number, requirement, told, logged in (
        (5, "six==99.9", "six==99.9", "No solution found"),
        (6, "six @ http://127.0.0.1:9/six-1.16.0-py3-none-any.whl", "127.0.0.1:9", "six-1.16.0"),
    ):
        path = Path(shutil.copytree(saved("version-3"), tmp_path / f"version-{number}"))
        (path / "requirements.txt").write_text(f"{requirement}\n")
        server.update("split", {f"v-{number}": (path, 100)})
        shown = server.wait("split", "UPDATE_FAILED")
        [entity] = shown["pending_config"]["served_entities"]
        assert told in entity["state"]["deployment_state_message"]
        assert server.ask("split", ROW).json() == {"predictions": [1]}
        logs = f"/api/2.0/serving-endpoints/split/served-models/v-{number}/build-logs"
        assert logged in server.http.get(logs).json()["logs"]
    # and the next update is as good as ever
    _serve(server, {2: 100})
    assert server.ask("split", ROW).json() == {"predictions": [2]}
