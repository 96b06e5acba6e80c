"""Kill -9 of each process under load: the loss that the design states, and no more."""

import os
import signal
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from tests.e2e.load import ROW, traffic
from tests.e2e.running import Running, eventually, running
from tests.models import saved


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("deaths"), "--gateways", "2") as server:
        server.create(
            "e", {"v-1": (saved("version-1"), 50), "v-2": (saved("version-2"), 50)}, replicas=2
        )
        # The copy in which a replica compared its model with MLflow's may still be there.
        eventually(lambda: len(server.children("replica.main")) == 4, what="four and nothing else")
        yield server


def _kill(process: psutil.Process) -> None:
    os.kill(process.pid, signal.SIGKILL)


def test_a_killed_gateway_costs_only_its_own_connections(server: Running) -> None:
    victim, survivor = server.children("server.gateway")
    with traffic(server, "e") as tally:
        eventually(lambda: tally.answered > 200)
        _kill(victim)
        eventually(lambda: len(server.children("server.gateway")) == 2, what="its restart")
        before = tally.answered
        eventually(lambda: tally.answered > before + 200)
    assert len(tally.broken) <= 4  # at most one request in flight on each connection
    assert dict(tally.refused) == {}
    assert tally.misattributed == []
    assert survivor.is_running()


def test_a_killed_controller_costs_nothing_and_finds_its_replicas_again(server: Running) -> None:
    replicas = {process.pid for process in server.children("replica.main")}
    with traffic(server, "e") as tally:
        eventually(lambda: tally.answered > 100)
        [controller] = server.children("server.controller")
        _kill(controller)
        before = tally.answered
        eventually(lambda: tally.answered > before + 100)  # nobody needs it to predict
        eventually(
            lambda: server.http.get("/api/2.0/serving-endpoints/e").status_code == 200,
            what="the controller's return",
        )
        server.update(
            "e", {"v-1": (saved("version-1"), 10), "v-2": (saved("version-2"), 90)}, replicas=2
        )
        server.wait("e")
    assert (tally.broken, dict(tally.refused), tally.misattributed) == ([], {}, [])
    assert {process.pid for process in server.children("replica.main")} == replicas


def test_a_killed_replica_costs_nothing_while_it_has_a_sibling(server: Running) -> None:
    replicas = {process.pid for process in server.children("replica.main")}
    with traffic(server, "e") as tally:
        eventually(lambda: tally.answered > 100)
        os.kill(min(replicas), signal.SIGKILL)
        eventually(
            lambda: len({p.pid for p in server.children("replica.main")} - replicas) == 1,
            what="its replacement",
        )
        eventually(
            lambda: (
                server.get("e")["config"]["served_entities"][0]["state"]["deployment"]
                == server.get("e")["config"]["served_entities"][1]["state"]["deployment"]
                == "DEPLOYMENT_READY"
            ),
            what="the recovery",
        )
    assert (tally.broken, dict(tally.refused), tally.misattributed) == ([], {}, [])


@pytest.mark.skipif(sys.platform != "linux", reason="needs a keeper")
def test_a_server_that_was_stopped_as_a_whole_goes_on_where_it_was(server: Running) -> None:
    everything = server.everything()
    for process in everything:
        process.suspend()
    time.sleep(1.0)  # longer than a keeper waits between two looks
    for process in everything:
        process.resume()
    server.reconnect()
    assert {server.ask("e", ROW).status_code for _ in range(50)} == {200}
    assert {each.pid for each in everything} <= {each.pid for each in server.everything()}


def test_a_gateway_that_hangs_loses_its_lease_and_holds_up_no_update(server: Running) -> None:
    hung, other = server.children("server.gateway")
    hung.suspend()
    server.reconnect()
    server.update(
        "e", {"v-1": (saved("version-1"), 40), "v-2": (saved("version-2"), 60)}, replicas=2
    )
    server.wait("e")  # not before the hung gateway, which has not acknowledged, is dead
    assert not hung.is_running() or hung.status() == psutil.STATUS_ZOMBIE
    assert other.is_running()
    eventually(lambda: len(server.children("server.gateway")) == 2, what="its replacement")


def test_gateways_restart_from_disk_while_the_controller_is_away(server: Running) -> None:
    [controller] = server.children("server.controller")
    controller.suspend()
    try:
        gateways = server.children("server.gateway")
        for gateway in gateways:
            _kill(gateway)
        eventually(lambda: len(server.children("server.gateway")) == 2, what="their restart")
        answers = [server.ask("e", ROW) for _ in range(50)]
    finally:
        controller.resume()
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.headers["served-model-name"] for answer in answers} == {"v-1", "v-2"}
    eventually(lambda: server.http.get("/api/2.0/serving-endpoints").status_code == 200)


def test_a_payload_that_kills_a_replica_ends_in_a_clear_answer_and_a_new_replica(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with running(tmp_path_factory.mktemp("exits")) as server:
        server.create("e", {"v-1": (saved("exits"), 50), "v-2": (saved("version-2"), 50)})
        deadly = {"dataframe_split": {"columns": ["x", "y"], "data": [[13.0, 0.0]]}}
        answer = server.ask("e", deadly, served="v-1")
        assert (answer.status_code, answer.json()["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
        assert answer.headers["retry-after"] == "1"
        assert server.ask("e", ROW, served="v-2").json() == {"predictions": [2]}
        eventually(lambda: server.ask("e", ROW, served="v-1").status_code == 200, what="its return")


def test_a_replica_that_hangs_is_replaced(tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("hangs")
    with running(directory, environ={"SERINUS_DEADLINE": "1s"}) as server:
        server.create("e", {"v-1": (saved("version-1"), 100)})
        [replica] = server.children("replica.main")
        replica.suspend()
        stuck = server.ask("e", ROW)
        assert (stuck.status_code, stuck.json()["error_code"]) == (504, "DEADLINE_EXCEEDED")
        eventually(lambda: server.ask("e", ROW).status_code == 200, what="its replacement")
        eventually(
            lambda: replica.pid not in {each.pid for each in server.children("replica.main")},
            what="the end of the one that hung",
        )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_end_answers_what_is_in_flight_and_leaves_no_orphan(
    tmp_path_factory: pytest.TempPathFactory, number: int
) -> None:
    with running(tmp_path_factory.mktemp("ends"), "--gateways", "2") as server:
        server.create("e", {"v-1": (saved("version-1"), 100)})
        everything = server.everything()
        with traffic(server, "e") as tally:
            eventually(lambda: tally.answered > 50)
            assert server.stop(number) == 0
        # What was asked before the end was answered; after it nobody listens.
        assert all(
            "refused" in each or "reset" in each.lower() or "disconnected" in each.lower()
            for each in tally.broken
        )
        assert dict(tally.refused) == {}
        _, alive = psutil.wait_procs(everything, timeout=30)
        assert alive == []


def test_a_killed_supervisor_takes_everything_with_it(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    directory = tmp_path_factory.mktemp("unit")
    with running(directory) as server:
        server.create("e", {"v-1": (saved("version-1"), 100)})
        everything = server.everything()
        server.stop(signal.SIGKILL)
        _, alive = psutil.wait_procs(everything, timeout=30)
        assert alive == []
        # A service manager starts it again: same home, same port, same endpoints.
        again = Running(server.home, port=server.port)
        try:
            again.wait_until_up()
            eventually(lambda: again.ask("e", ROW).status_code == 200, what="the endpoint")
            assert again.ask("e", ROW).json() == {"predictions": [1]}
        finally:
            again.stop()


def test_a_second_server_on_the_same_home_names_the_first(server: Running) -> None:
    second = Running(server.home)
    assert second.process.wait(60) == 2
    assert f"another server (pid {server.pid}) uses the home" in second.log.read_text()


def test_a_port_that_is_taken_is_named(server: Running, tmp_path_factory) -> None:
    other = Running(tmp_path_factory.mktemp("taken") / "home", port=server.port)
    assert other.process.wait(60) == 2
    assert f"port {server.port} on 127.0.0.1 is not to be had" in other.log.read_text()


def test_an_open_door_is_refused(tmp_path_factory) -> None:
    server = Running(tmp_path_factory.mktemp("open") / "home", "--host", "0.0.0.0")
    assert server.process.wait(60) == 2
    assert "callers must have tokens" in server.log.read_text()
