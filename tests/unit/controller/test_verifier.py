"""Verification before traffic through the real loop and store: who is let in or sent back."""

from datetime import timedelta
from typing import Any

import pytest

from serinus.entities import WHOLE, ConfigUpdate, EndpointConfig
from serinus.rollout.state import Cause, Phase
from serinus.store.verifications import key_of
from tests.unit.controller.world import World

QUICK: dict[str, Any] = {
    "guardrails": [],
    "advance": {"after": "10s"},
    "step": {"min_duration": "5s"},
    "steps": [{"set_weight": "10%"}],
}


def _policy(world: World, verification: str) -> None:
    world.store.rollouts.set_policy("id-of-e", {"verification": verification}, world.at)


def _ended(world: World, id_: str = "r1") -> Phase:
    world.until(lambda: world.phase(id_).terminal)
    return world.phase(id_)


def _most(world: World, served: str = "m-2") -> int:
    """The largest share that gateways were ever told of."""
    tables = [table.endpoints[0].served for table in world.gateways.tables]
    return max((s.weight_bp for table in tables for s in table if s.name == served), default=0)


def _verified(world: World) -> list[dict[str, Any]]:
    return [entry.data for entry in world.store.journal() if entry.kind == "verified"]


def _update(world: World, number: int) -> None:
    entity = world.entity(number)
    config = lambda version: EndpointConfig(version, (entity,), {entity.name: WHOLE}, world.at)  # noqa: E731
    world.store.put_config("e", config, world.at)


def test_a_candidate_is_verified_once_on_its_own_replica_before_any_traffic(world: World) -> None:
    world.verifier.hangs = True
    world.roll_out(2, **QUICK)
    world.until(lambda: world.phase() is Phase.VERIFYING)
    world.pass_time(30)
    assert world.phase() is Phase.VERIFYING
    assert _most(world) == 0
    world.verifier.hangs = False
    assert _ended(world) is Phase.SUCCEEDED
    asked = [subject for subject in world.verifier.asked if subject.model_digest == "d2"]
    assert len(asked) == 1
    assert asked[0].replica_id.startswith("m-2-")
    assert world.state().verified == (
        "It was verified before any traffic: 2 of 2 gates passed on 3 golden rows, none failed."
    )
    [entry] = [data for data in _verified(world) if data["served_entity"] == "m-2"]
    assert entry["report"]["result"] == "pass"
    assert world.store.rollouts.journal("r1")  # it speaks of the rollout
    kinds = {entry.kind for entry in world.store.rollouts.journal("r1")}
    assert "verified" in kinds


def test_required_sends_a_failure_back_before_any_traffic(world: World) -> None:
    _policy(world, "required")
    world.verifier.faults["d2"] = "preprocessing.transform"
    world.roll_out(2, **QUICK)
    assert _ended(world) is Phase.ROLLED_BACK
    state = world.state()
    assert state.cause is Cause.VERIFICATION_FAILED
    assert not state.exposed
    assert "gate golden (preprocessing.transform, first at S3)" in state.reason
    assert "row 2: expected 1.0, got 2.0" in state.reason
    # The way out is a command that can be copied.
    assert state.reason.endswith("serinus rollout retry e --waive-verification REASON")
    assert _most(world) == 0
    assert world.weights()["m-1"] == WHOLE


def test_what_failed_is_verified_anew_by_a_retry(world: World) -> None:
    _policy(world, "required")
    world.verifier.faults["d2"] = "environment.library"
    world.roll_out(2, **QUICK)
    assert _ended(world) is Phase.ROLLED_BACK
    world.verifier.faults.clear()
    world.ask("retry")
    world.until(lambda: world.phase() is Phase.SUCCEEDED)


@pytest.mark.parametrize("when", ["before", "while it is verified", "in a retry"])
def test_a_waiver_lets_it_by_and_says_who_and_why(world: World, when: str) -> None:
    _policy(world, "required")
    world.verifier.faults["d2"] = "model"
    world.verifier.hangs = when == "while it is verified"
    world.roll_out(2, **QUICK)
    data = {"waive_verification": "the holdout is wrong"}
    if when == "before":
        world.store.rollouts.wish("r1", "approve", "ada", world.at, data)
    elif when == "in a retry":
        assert _ended(world) is Phase.ROLLED_BACK
        world.store.rollouts.wish("r1", "retry", "ada", world.at, data)
    else:
        world.until(lambda: world.phase() is Phase.VERIFYING)
        world.store.rollouts.wish("r1", "approve", "ada", world.at, data)
    world.until(lambda: world.phase() is Phase.SUCCEEDED)
    told = "It was not verified before any traffic: waived by ada: the holdout is wrong."
    assert world.state().verified == told
    decided = [e for e in world.store.rollouts.journal("r1") if e.kind == "rollout_decided"]
    [said] = [e for e in decided if e.data.get("asked", {}).get("waive_verification")]
    assert (said.actor, said.data["asked"]) == ("ada", data)


def test_warn_goes_on_and_tells_it_everywhere(world: World) -> None:
    world.verifier.faults["d2"] = "schema.type"
    notify = [{"webhook": "http://127.0.0.1/hook"}]
    world.roll_out(2, notify=notify, **QUICK)
    assert _ended(world) is Phase.SUCCEEDED
    world.messenger.settle()
    assert "failed, which only warns: gate golden (schema.type" in world.state().verified
    moments = [body["moment"] for _, body in world.posted]
    assert moments[0] == "warned"
    assert "schema.type" in world.posted[0][1]["text"]
    [entry] = [data for data in _verified(world) if data["served_entity"] == "m-2"]
    assert entry["why"].startswith("gate golden")
    before = len(world.verifier.asked)
    world.pass_time(60)
    assert len(world.verifier.asked) == before  # it is known, and serves


def test_off_verifies_nothing(world: World) -> None:
    _policy(world, "off")
    world.roll_out(2, **QUICK)
    assert _ended(world) is Phase.SUCCEEDED
    assert {subject.model_digest for subject in world.verifier.asked} == {"d1"}  # before the policy
    assert "verification: off" in world.state().verified


def test_required_is_not_content_without_a_golden_row(world: World) -> None:
    world.verifier.mute = {"d2", "d3"}
    world.roll_out(2, **QUICK)
    assert _ended(world) is Phase.SUCCEEDED
    _policy(world, "required")
    world.roll_out(3, "r2", **QUICK)
    assert _ended(world, "r2") is Phase.ROLLED_BACK
    assert "serinus contract capture" in world.state("r2").reason


def test_a_replica_that_hangs_fails_after_the_deadline(world: World) -> None:
    _policy(world, "required")
    world.verifier.hangs = True
    world.roll_out(2, **QUICK)
    world.until(lambda: world.phase() is Phase.VERIFYING)
    world.at += timedelta(minutes=6)
    assert _ended(world) is Phase.ROLLED_BACK
    assert "had not answered everything after 300 s" in world.state().reason
    world.verifier.hangs = False
    world.turn(3)  # what comes too late is not heard
    assert world.phase() is Phase.ROLLED_BACK


def test_a_verification_that_breaks_is_a_failure_with_its_words(world: World) -> None:
    _policy(world, "required")
    world.verifier.broken["d2"] = RuntimeError("no such stage")
    world.roll_out(2, **QUICK)
    assert _ended(world) is Phase.ROLLED_BACK
    assert "the verification itself met RuntimeError: no such stage" in world.state().reason


def test_a_replica_that_ends_on_the_way_is_followed_by_the_next(world: World) -> None:
    _policy(world, "required")
    world.verifier.hangs = True
    world.verifier.faults["d2"] = "reach"
    world.roll_out(2, **QUICK)
    world.until(lambda: world.phase() is Phase.VERIFYING)
    [replica] = [s.spec.replica_id for s in world.engine.list() if s.spec.model_digest == "d2"]
    world.engine.crash(replica)
    world.verifier.hangs = False
    world.verifier.work()
    world.verifier.faults.clear()
    assert _ended(world) is Phase.SUCCEEDED
    asked = [subject.replica_id for subject in world.verifier.asked if subject.model_digest == "d2"]
    assert len(asked) == 2
    assert asked[0] == replica != asked[1]


def test_a_new_controller_begins_again_what_was_under_way_and_nothing_else(world: World) -> None:
    world.verifier.hangs = True
    world.roll_out(2, **QUICK)
    world.until(lambda: world.phase() is Phase.VERIFYING)
    world.verifier.drop()
    world.verifier.hangs = False
    world.start()
    assert _ended(world) is Phase.SUCCEEDED
    asked = [subject.model_digest for subject in world.verifier.asked]
    assert asked == ["d1", "d2"]  # the first one for d2 was dropped with its controller
    world.start()
    world.pass_time(10)
    assert [subject.model_digest for subject in world.verifier.asked] == asked


def test_an_update_waits_only_where_verification_is_required(world: World) -> None:
    world.verifier.hangs = True
    _update(world, 2)
    world.until(lambda: world.weights() == {"m-2": WHOLE})
    world.until(lambda: world.store.endpoint("e").update is ConfigUpdate.NOT_UPDATING)
    _policy(world, "required")
    _update(world, 3)
    for _ in range(30):
        world.pass_time(1)
    endpoint = world.store.endpoint("e")
    assert endpoint.update is ConfigUpdate.IN_PROGRESS
    assert endpoint.pending is not None
    assert "being verified" in endpoint.pending.entities[0].deployment_message
    assert world.weights() == {"m-2": WHOLE}
    world.verifier.hangs = False
    world.until(lambda: world.weights() == {"m-3": WHOLE})


def test_an_update_to_what_does_not_pass_fails_and_the_old_config_serves(world: World) -> None:
    _policy(world, "required")
    world.verifier.faults["d2"] = "preprocessing.transform"
    _update(world, 2)
    world.until(lambda: world.store.endpoint("e").update is ConfigUpdate.UPDATE_FAILED)
    assert world.weights() == {"m-1": WHOLE}
    pending = world.store.endpoint("e").pending
    assert pending is not None
    message = pending.entities[0].deployment_message
    assert "gate golden (preprocessing.transform, first at S3)" in message
    assert "--waive-verification" in message
    assert _most(world) == 0


def test_what_has_traffic_keeps_it_under_a_later_policy(world: World) -> None:
    world.verifier.faults["d1"] = "model"
    world.store.set_fields("e", at=world.at, verify_after=world.at + timedelta(seconds=1))
    world.pass_time(5)
    _policy(world, "required")
    entity = world.entity(1, replicas=2)
    world.store.put_config(
        "e", lambda v: EndpointConfig(v, (entity,), {entity.name: WHOLE}, world.at), world.at
    )
    world.until(lambda: world.store.endpoint("e").update is ConfigUpdate.NOT_UPDATING)
    assert len(world.gateways.now.served[0].replicas) == 2


def test_somebody_may_ask_for_it_again(world: World) -> None:
    world.pass_time(10)
    assert [subject.model_digest for subject in world.verifier.asked] == ["d1"]
    world.verifier.faults["d1"] = "environment.library"
    world.store.set_fields("e", at=world.at, verify_after=world.at)
    world.pass_time(5)
    active = world.store.endpoint("e").active
    assert active is not None
    key = key_of(active.entities[0])
    report = world.store.verifications.of([key])[key].report
    assert report is not None
    assert report.result.value == "fail"
    assert len(world.verifier.asked) == 2
    world.pass_time(60)
    assert len(world.verifier.asked) == 2
    assert world.weights() == {"m-1": WHOLE}  # nothing moves for it


def test_a_report_is_kept_small(world: World) -> None:
    world.verifier.details["d2"] = "x" * 100_000
    world.verifier.faults["d2"] = "model"
    world.roll_out(2, **QUICK)
    assert _ended(world) is Phase.SUCCEEDED
    [entry] = [data for data in _verified(world) if data["served_entity"] == "m-2"]
    assert len(str(entry)) < 10_000
    assert len(world.state().verified) < 1000
