"""`serinus serve` on PostgreSQL: the server goes away and comes back in mid-update."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.load import traffic
from tests.e2e.running import eventually, running
from tests.models import saved
from tests.postgres import Postgres


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    """A server that this test may stop; it waits for the disk at each commit."""
    server = Postgres()
    try:
        server.start(durable=True)
        yield server
    finally:
        server.close()


def test_a_restart_in_mid_update_stops_no_answer_and_loses_nothing(
    postgres: Postgres, tmp_path: Path
) -> None:
    both = {"v-1": (saved("version-1"), 50), "v-2": (saved("version-2"), 50)}
    store = {"SERINUS_STORE": postgres.database()}
    with running(tmp_path, environ=store) as server:
        server.create("e", {"v-1": (saved("version-1"), 100)})
        with traffic(server, "e", threads=2) as tally:
            server.update("e", both)
            postgres.stop("immediate")
            refused = server.http.get("/api/2.0/serving-endpoints/e")
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
            assert "does not answer" in refused.json()["message"]
            seen = tally.answered
            eventually(lambda: tally.answered > seen + 50, what="answers without a store")
            postgres.start(durable=True)
            shown = server.wait("e")
            assert shown["config"]["config_version"] == 2
            eventually(lambda: tally.by_version["v-2"] > 10, what="the new version's share")
            # A controller that dies while the store is away is back once the store is.
            postgres.stop("immediate")
            [controller] = server.children("server.controller")
            os.kill(controller.pid, signal.SIGKILL)
            seen = tally.answered
            eventually(lambda: "controller_can_not_start_yet" in server.log.read_text())
            postgres.start(durable=True)
            eventually(
                lambda: server.http.get("/api/2.0/serving-endpoints/e").status_code == 200,
                what="the controller's return",
            )
            assert tally.answered > seen
        assert (tally.broken, dict(tally.refused), tally.misattributed) == ([], {}, [])
    assert not (tmp_path / "home" / "serinus.db").exists()
