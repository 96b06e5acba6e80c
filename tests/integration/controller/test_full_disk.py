"""A rollout is aborted while its SQLite database can't grow: traffic goes back at once."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text

from serinus.entities import WHOLE
from serinus.store.acts import Act, acting
from serinus.store.failures import StoreError
from serinus.store.journal import JournalEntry
from serinus.store.repository import Store
from tests.unit.api.rolling import Rolling
from tests.unit.controller.world import World


@pytest.fixture
def rolling(tmp_path: Path):
    rolling = Rolling(tmp_path)
    yield rolling
    rolling.world.close()


def _limit(store: Store, pages: int) -> None:
    """As large as the database may get from now on; SQLite asks each connection anew."""
    engine = store._database._engine
    engine.dispose()

    @event.listens_for(engine, "connect")
    def limit(connection: Any, _record: object) -> None:
        connection.execute(f"PRAGMA max_page_count={pages}").close()


def _fill(world: World) -> None:
    """Until nothing at all can be written any more: no page has room, and there is no new one."""
    store = world.store
    with store._database.read() as connection:
        pages = connection.execute(text("PRAGMA page_count")).scalar_one()
    _limit(store, pages)
    for size in (3000, 300, 30):
        entry = JournalEntry("me", "filler", world.at, "id-of-e", {"x": "x" * size})
        with suppress(StoreError):
            for _ in range(10_000):
                store.append([entry])
    # The audit log too: what it keeps of an abort is longer than what it keeps of this.
    with suppress(StoreError), acting(Act("me", "x", world.at, "e")):
        for _ in range(1_000):
            store.set_fields("e", at=world.at, description="")


def test_an_abort_on_a_full_disk_is_carried_out_and_stored_later(rolling: Rolling) -> None:
    world = rolling.world
    started = rolling.start(2, steps=[{"set_weight": "20%"}, {"pause": {}}], bake=None)
    world.until(lambda: world.weights().get("m-2") == 2000)
    _fill(world)
    stored = world.store.routes()

    status, code, said = rolling.refused("POST", "rollouts/current/abort", {"reason": "it smells"})
    assert (status, code) == (500, "INTERNAL_ERROR")
    assert "database or disk is full" in said
    assert "Make room on the disk of " in said
    assert "Traffic was moved all the same: every request to 'e' goes to m-1 now." in said
    assert world.weights() == {"m-1": WHOLE, "m-2": 0}
    assert world.gateways.served == world.gateways.tables[-1].generation > stored.generation
    assert world.store.routes() == stored
    # A second one says the same, and changes nothing.
    assert rolling.refused("POST", "rollouts/current/abort", {})[0] == 500
    world.pass_time(60)
    assert world.weights() == {"m-1": WHOLE, "m-2": 0}
    assert world.running() == {"d1", "d2"}

    _limit(world.store, 1 << 30)
    world.until(lambda: world.phase(started["id"]).terminal)
    ended = rolling.now()
    assert (ended["phase"], ended["candidate"]) == ("ROLLED_BACK", started["candidate"])
    assert "aborted it" in ended["reason"]
    assert world.store.routes().generation > stored.generation + 1
    assert world.weights()["m-1"] == WHOLE
    generations = [each.generation for each in world.gateways.tables]
    assert generations == sorted(set(generations))
    audited = [each.action for each in world.store.audit.entries(endpoint="e")]
    assert any(each.endswith("/abort") for each in audited), audited
