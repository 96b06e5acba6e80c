"""What a controller needs of `Store.rollouts`: one suite for the real store and for the fake."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from serinus.entities import (
    WHOLE,
    ConfigUpdate,
    Deployment,
    Endpoint,
    EndpointConfig,
    ModelRef,
    Optimize,
    ServedEntity,
)
from serinus.errors import ResourceConflict, ResourceDoesNotExist
from serinus.rollout.events import (
    Activate,
    DropUpdate,
    FailUpdate,
    MoveAlias,
    Notify,
    RememberRefused,
    Revert,
    Side,
)
from serinus.rollout.parse import parse_spec
from serinus.rollout.spec import Moment
from serinus.rollout.state import Phase, RolloutState, begin
from serinus.store.journal import JournalEntry
from serinus.store.repository import FencedOut, Store
from serinus.store.rollouts import Refusal, StaleDecision, StoredRollout
from serinus.testing import FakeStore
from tests.unit.store.conftest import AT, LATER

_ID = "id-of-e"


@pytest.fixture(params=["real", "fake"])
def store(request, tmp_path: Path) -> Iterator[Any]:
    made: Any = FakeStore()
    if request.param == "real":
        made = Store.open(f"sqlite:///{tmp_path / 'serinus.db'}")
    entity = ServedEntity("m-1", "m", "1", deployment=Deployment.READY)
    config = EndpointConfig(1, (entity,), {"m-1": WHOLE}, AT)
    made.create_endpoint(Endpoint(_ID, "e", "me", AT, AT, active=config))
    yield made
    made.close()


def _state(version: int, id_: str = "r1", at=AT) -> RolloutState:
    return begin(
        id=id_,
        endpoint="e",
        spec=parse_spec({"candidate": "models:/m/2"}),
        stable="m-1",
        candidate="m-2",
        candidate_digest="",
        config_version=version,
        actor="me",
        at=at,
    )


def _target(version: int) -> EndpointConfig:
    model = ModelRef("d2", "models:/m/2", "models:/m/2")
    entity = ServedEntity("m-2", "m", "2", model=model)
    return EndpointConfig(version, (entity,), {"m-2": WHOLE}, AT)


def _begun(store: Any, id_: str = "r1", at=AT) -> StoredRollout:
    begun: StoredRollout = store.rollouts.create(
        "e", _target, lambda _, to: _state(to, id_, at), at
    )
    return begun


def _moved(rollout: StoredRollout, phase: Phase, **changes: Any) -> RolloutState:
    return replace(rollout.state, phase=phase, **changes)


def _entry(kind: str) -> JournalEntry:
    return JournalEntry("controller", kind, AT, _ID, {"n": [1, None]}, rollout_id="r1")


def test_a_rollout_begins_with_its_pending_config(store) -> None:
    begun = _begun(store)
    assert (begun.stable_version, begun.target_version, begun.revision) == (1, 2, 0)
    assert store.rollouts.get("r1") == begun
    endpoint = store.endpoint("e")
    assert endpoint.update is ConfigUpdate.IN_PROGRESS
    assert endpoint.pending == _target(2)


def test_a_second_one_is_refused_while_an_update_is_in_progress(store) -> None:
    _begun(store)
    with pytest.raises(ResourceConflict, match="Endpoint e is currently updating"):
        _begun(store, "r2")
    with pytest.raises(ResourceDoesNotExist, match="There is no rollout 'r2'"):
        store.rollouts.get("r2")


def test_one_that_can_not_be_made_leaves_no_config_behind(store) -> None:
    def refuse(stable: int, target: int) -> RolloutState:
        raise LookupError(stable, target)

    with pytest.raises(LookupError, match=r"1, 2"):
        store.rollouts.create("e", _target, refuse, LATER)
    assert store.endpoint("e").update is ConfigUpdate.NOT_UPDATING
    assert store.config(_ID, 2) is None


def test_a_decision_and_its_effects_are_one(store) -> None:
    epoch = store.take_epoch()
    begun = _begun(store)
    store.rollouts.wish("r1", "promote", "me", AT, {"full": True})
    [wish] = store.rollouts.wishes()
    state = _moved(begun, Phase.SUCCEEDED, activated=True, ended_at=LATER, effects=2)
    effects = (Activate("r1/1"), Notify("r1/2", Moment.SUCCEEDED, "well"))
    after = store.rollouts.decide(
        begun, state, effects, LATER, epoch=epoch, heard=[wish.id], entries=[_entry("decided")]
    )
    assert after == store.rollouts.get("r1")
    assert (after.revision, after.state) == (1, state)
    endpoint = store.endpoint("e")
    assert (endpoint.active, endpoint.pending) == (_target(2), None)
    assert store.rollouts.wishes() == ()
    [message] = store.rollouts.messages(LATER)
    assert (message.id, message.kind, message.tries) == ("r1/2", "notify", 0)
    assert message.data == {"moment": "succeeded", "text": "well"}
    [entry] = store.rollouts.journal("r1")
    assert (entry.kind, entry.data, entry.id) == ("decided", {"n": [1, None]}, 1)


def test_a_decision_from_an_older_state_changes_nothing(store) -> None:
    epoch = store.take_epoch()
    begun = _begun(store)
    store.rollouts.decide(begun, _moved(begun, Phase.VERIFYING), (), LATER, epoch=epoch)
    stored = store.rollouts.get("r1")
    late = _moved(begun, Phase.ROLLED_BACK)
    effects = (FailUpdate("r1/1", "late"),)
    with pytest.raises(StaleDecision):
        store.rollouts.decide(begun, late, effects, LATER, epoch=epoch, entries=[_entry("late")])
    assert store.rollouts.get("r1") == stored
    assert store.endpoint("e").update is ConfigUpdate.IN_PROGRESS
    assert store.rollouts.journal("r1") == ()


def test_an_older_controller_decides_nothing_and_drops_nothing(store) -> None:
    old, _ = store.take_epoch(), store.take_epoch()
    begun = _begun(store)
    store.rollouts.wish("r1", "pause", "me", AT, {})
    [wish] = store.rollouts.wishes()
    with pytest.raises(FencedOut, match="epoch 1 was replaced by that of epoch 2"):
        store.rollouts.decide(begun, _moved(begun, Phase.VERIFYING), (), LATER, epoch=old)
    with pytest.raises(FencedOut):
        store.rollouts.drop_wish(wish.id, epoch=old)
    assert store.rollouts.get("r1") == begun
    assert store.rollouts.wishes() == (wish,)


def test_an_effect_that_is_there_already_takes_all_back(store) -> None:
    epoch = store.take_epoch()
    begun = _begun(store)
    move = (MoveAlias("r1/1", Side.CANDIDATE),)
    first = store.rollouts.decide(begun, _moved(begun, Phase.VERIFYING), move, AT, epoch=epoch)
    with pytest.raises(IntegrityError):
        store.rollouts.decide(first, _moved(first, Phase.PAUSED), move, AT, epoch=epoch)
    assert store.rollouts.get("r1") == first


@pytest.mark.parametrize("form", Optimize)
def test_what_is_refused_is_the_form_that_served(store, form: Optimize) -> None:
    epoch = store.take_epoch()

    def target(version: int) -> EndpointConfig:
        config = _target(version)
        return replace(config, entities=(replace(config.entities[0], optimize=form),))

    begun = store.rollouts.create("e", target, lambda _, to: _state(to), AT)
    ended = _moved(begun, Phase.ROLLED_BACK, ended_at=LATER)
    refuse = RememberRefused("r1/2", "", "worse")
    store.rollouts.decide(begun, ended, (refuse,), LATER, epoch=epoch)
    [served] = target(2).entities
    assert set(store.rollouts.refused(_ID)) == {served.served_digest}


def test_a_rollback_fails_the_update_and_remembers_the_model(store) -> None:
    epoch = store.take_epoch()
    begun = _begun(store)
    effects = (FailUpdate("r1/1", "worse"), RememberRefused("r1/2", "", "worse"))
    ended = _moved(begun, Phase.ROLLED_BACK, ended_at=LATER)
    after = store.rollouts.decide(begun, ended, effects, LATER, epoch=epoch)
    assert store.endpoint("e").update is ConfigUpdate.UPDATE_FAILED
    assert store.rollouts.refused(_ID) == {"d2": Refusal("r1", "worse")}
    assert store.rollouts.refused("another") == {}
    again = store.rollouts.decide(after, _moved(after, Phase.PENDING), (), LATER, epoch=epoch)
    endpoint = store.endpoint("e")
    assert (again.revision, endpoint.update) == (2, ConfigUpdate.IN_PROGRESS)
    assert endpoint.pending is not None
    assert endpoint.pending.entities[0].deployment is Deployment.CREATING


def test_a_way_back_is_a_new_version_of_the_old_config(store) -> None:
    epoch = store.take_epoch()
    begun = _begun(store)
    baking = _moved(begun, Phase.BAKING, activated=True)
    there = store.rollouts.decide(begun, baking, (Activate("r1/1"),), LATER, epoch=epoch)
    gone = _moved(there, Phase.ROLLED_BACK, activated=False)
    store.rollouts.decide(there, gone, (Revert("r1/2", "worse"),), LATER, epoch=epoch)
    active = store.endpoint("e").active
    assert active is not None
    assert (active.version, active.weights, active.created_at) == (3, {"m-1": WHOLE}, LATER)


def test_what_ended_long_ago_is_not_relevant(store) -> None:
    epoch = store.take_epoch()
    begun = _begun(store)
    assert store.rollouts.relevant(LATER) == (begun,)
    ended = _moved(begun, Phase.ROLLED_BACK, ended_at=AT)
    effects = (FailUpdate("r1/1", "worse"),)
    after = store.rollouts.decide(begun, ended, effects, AT, epoch=epoch)
    assert store.rollouts.relevant(AT) == ()
    assert store.rollouts.relevant(AT - timedelta(seconds=1)) == (after,)
    newer = _begun(store, "r2", LATER)
    assert [r.state.id for r in store.rollouts.relevant(AT - timedelta(1))] == ["r1", "r2"]
    assert store.rollouts.of_endpoint(_ID) == (newer, after)
    assert store.rollouts.of_endpoint(_ID, limit=1) == (newer,)


def test_wishes_come_in_their_order_and_only_for_rollouts_that_are(store) -> None:
    epoch = store.take_epoch()
    _begun(store)
    store.rollouts.wish("r1", "pause", "ann", AT, {})
    store.rollouts.wish("r1", "abort", "bob", LATER, {"reason": "ü"})
    with pytest.raises(IntegrityError):
        store.rollouts.wish("nobody", "abort", "bob", LATER, {})
    first, second = store.rollouts.wishes()
    assert (first.verb, first.actor, first.at) == ("pause", "ann", AT)
    assert (second.verb, second.data, second.id) == ("abort", {"reason": "ü"}, first.id + 1)
    store.rollouts.drop_wish(first.id, epoch=epoch, entries=[_entry("wish_refused")])
    assert store.rollouts.wishes() == (second,)
    assert [entry.kind for entry in store.rollouts.journal("r1")] == ["wish_refused"]


def test_the_journal_is_read_back_to_what_is_looked_for(store) -> None:
    _begun(store)
    told = [JournalEntry("me", kind, AT, _ID, rollout_id="r1") for kind in "abcd"]
    store.append([*told, JournalEntry("me", "e", AT, _ID)])

    def kinds(wanted: str, limit: int = 20) -> str:
        back = store.rollouts.entries_back_to("r1", lambda entry: entry.kind == wanted, limit)
        return "".join(entry.kind for entry in back)

    assert (kinds("b"), kinds("none"), kinds("a", limit=2), kinds("d")) == (
        "bcd",
        "abcd",
        "cd",
        "d",
    )
    assert store.rollouts.entries_back_to("another", lambda _: True) == ()


def test_messages_wait_until_they_are_due_and_done(store) -> None:
    epoch = store.take_epoch()
    begun = _begun(store)
    effects = (MoveAlias("r1/1", Side.STABLE), Notify("r1/2", Moment.PAUSED, "so"))
    store.rollouts.decide(begun, _moved(begun, Phase.PAUSED), effects, AT, epoch=epoch)
    assert store.rollouts.messages(AT - timedelta(seconds=1)) == ()
    assert [message.id for message in store.rollouts.messages(AT)] == ["r1/1", "r1/2"]
    store.rollouts.postpone("r1/1", LATER)
    assert [message.id for message in store.rollouts.messages(AT)] == ["r1/2"]
    assert [(m.id, m.tries) for m in store.rollouts.messages(LATER)] == [("r1/1", 1), ("r1/2", 0)]
    store.rollouts.done("r1/1", entries=[_entry("message_delivered")])
    store.rollouts.done("unknown")
    assert [message.id for message in store.rollouts.messages(LATER)] == ["r1/2"]
    assert len(store.rollouts.journal("r1")) == 1


def test_evidence_and_policy_are_replaced(store) -> None:
    _begun(store)
    assert store.rollouts.evidence("r1") is None
    store.rollouts.keep_evidence("r1", "r1", {"n": 1}, AT)
    store.rollouts.keep_evidence("r1", "r1", {"n": [2]}, LATER)
    assert store.rollouts.evidence("r1") == {"n": [2]}
    assert store.rollouts.policy(_ID) is None
    store.rollouts.set_policy(_ID, {"takes": "updates"}, AT)
    store.rollouts.set_policy(_ID, {"takes": "nothing"}, AT, entries=[_entry("policy")])
    assert store.rollouts.policy(_ID) == {"takes": "nothing"}
    with pytest.raises(IntegrityError):
        store.rollouts.set_policy("nobody", {}, AT)


def test_all_goes_with_the_endpoint_but_the_journal(store) -> None:
    epoch = store.take_epoch()
    begun = _begun(store)
    effects = (Notify("r1/1", Moment.PAUSED, "so"),)
    entries = [_entry("decided")]
    paused = _moved(begun, Phase.PAUSED)
    store.rollouts.decide(begun, paused, effects, AT, epoch=epoch, entries=entries)
    store.rollouts.wish("r1", "resume", "me", AT, {})
    store.rollouts.keep_evidence("r1", "r1", {"n": 1}, AT)
    store.rollouts.set_policy(_ID, {}, AT)
    store.delete_endpoint("e", LATER)
    store.purge(_ID, epoch=epoch)
    assert store.rollouts.relevant(AT) == ()
    assert store.rollouts.wishes() == ()
    assert store.rollouts.messages(LATER) == ()
    assert store.rollouts.evidence("r1") is None
    assert store.rollouts.policy(_ID) is None
    assert [entry.kind for entry in store.rollouts.journal("r1")] == ["decided"]


def test_a_dropped_update_leaves_nothing_pending_and_may_be_taken_up_again(store) -> None:
    begun = _begun(store)
    ended = _moved(begun, Phase.ROLLED_BACK, ended_at=AT)
    epoch = store.take_epoch()
    after = store.rollouts.decide(begun, ended, (DropUpdate("r1/1"),), LATER, epoch=epoch)
    endpoint = store.endpoint("e")
    assert (endpoint.update, endpoint.pending) == (ConfigUpdate.NOT_UPDATING, None)
    assert endpoint.active is not None
    assert endpoint.active.version == 1
    store.rollouts.decide(after, _moved(after, Phase.PENDING), (), LATER, epoch=epoch)
    endpoint = store.endpoint("e")
    assert endpoint.update is ConfigUpdate.IN_PROGRESS
    assert endpoint.pending is not None
