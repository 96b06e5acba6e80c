"""What every engine must do, whatever it runs on. Subclass it and give the fixture `harness`."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

import pytest

from serinus.engine.engine import (
    Engine,
    EngineHealth,
    EngineUnreachable,
    FenceError,
    Lease,
    ReplicaPhase,
    ReplicaSpec,
    ReplicaStatus,
    SpecChanged,
    StagePhase,
)
from serinus.entities import ModelRef

T = TypeVar("T")


class Harness(Protocol):
    """An engine and the hands that a test needs besides it."""

    engine: Engine
    model: ModelRef
    #: A model whose preparation fails until `mend_stage`.
    bad_model: ModelRef

    def spec(self, replica_id: str, behaviour: str = "", **changes: object) -> ReplicaSpec:
        """Behaviours: fails, hangs, exits, ignores-term, drains-slowly (1 s), prints."""
        ...

    def pass_time(self, seconds: float) -> None: ...
    def crash(self, replica_id: str) -> None: ...
    def mend_stage(self) -> None: ...
    def unreachable(self) -> AbstractContextManager[None]: ...
    def successor(self) -> Engine: ...


class EngineConformance:
    """The suite. Nothing in it knows which engine it runs on."""

    # --- stage ---

    def test_a_model_is_staged_and_gets_an_environment(self, harness: Harness) -> None:
        stage = wait(harness, lambda: staged(harness.engine, harness.model))
        assert stage.phase is StagePhase.READY
        assert stage.environment is not None
        assert stage.environment.python
        assert stage.message
        assert stage.log

    def test_staging_again_gives_the_same_environment(self, harness: Harness) -> None:
        first = wait(harness, lambda: staged(harness.engine, harness.model))
        second = harness.engine.stage(harness.model)
        assert (second.phase, second.environment) == (StagePhase.READY, first.environment)

    def test_a_successor_finds_the_same_environment(self, harness: Harness) -> None:
        first = wait(harness, lambda: staged(harness.engine, harness.model))
        other = harness.successor()
        assert wait(harness, lambda: staged(other, harness.model)).environment == first.environment

    def test_a_failed_stage_says_why(self, harness: Harness) -> None:
        stage = wait(harness, lambda: staged(harness.engine, harness.bad_model))
        assert stage.phase is StagePhase.FAILED
        assert stage.environment is None
        assert stage.message.endswith(".")
        assert stage.message in stage.log

    def test_after_a_failure_staging_starts_afresh(self, harness: Harness) -> None:
        assert wait(harness, lambda: staged(harness.engine, harness.bad_model)).phase is (
            StagePhase.FAILED
        )
        harness.mend_stage()
        stage = wait(harness, lambda: staged(harness.engine, harness.bad_model))
        assert stage.phase is StagePhase.READY

    def test_one_failed_stage_leaves_others_alone(self, harness: Harness) -> None:
        wait(harness, lambda: staged(harness.engine, harness.bad_model))
        good = wait(harness, lambda: staged(harness.engine, harness.model))
        assert good.phase is StagePhase.READY

    # --- ensure ---

    def test_a_replica_becomes_ready(self, harness: Harness) -> None:
        spec = harness.spec("a")
        first = harness.engine.ensure(spec)
        assert first.phase in (ReplicaPhase.STARTING, ReplicaPhase.LOADING, ReplicaPhase.READY)
        assert first.started_at is not None
        ready = reach(harness, "a", ReplicaPhase.READY)
        assert ready.spec == spec
        assert ready.address
        assert ready.pid
        assert ready.batched
        assert ready.exit_code is None

    def test_there_is_no_address_before_it_is_ready(self, harness: Harness) -> None:
        harness.engine.ensure(harness.spec("a", "hangs"))
        loading = reach(harness, "a", ReplicaPhase.LOADING)
        assert loading.address == ""

    def test_ensure_is_idempotent(self, harness: Harness) -> None:
        harness.engine.ensure(harness.spec("a"))
        pid = reach(harness, "a", ReplicaPhase.READY).pid
        again = harness.engine.ensure(harness.spec("a"))
        assert (again.phase, again.pid) == (ReplicaPhase.READY, pid)
        assert len(harness.engine.list()) == 1

    def test_another_spec_under_the_same_id_is_refused(self, harness: Harness) -> None:
        harness.engine.ensure(harness.spec("a"))
        with pytest.raises(SpecChanged, match="a"):
            harness.engine.ensure(harness.spec("a", max_batch=7))
        assert status(harness.engine, "a").spec.max_batch != 7

    def test_the_epoch_is_no_part_of_the_identity(self, harness: Harness) -> None:
        harness.engine.ensure(harness.spec("a", fence_epoch=1))
        pid = reach(harness, "a", ReplicaPhase.READY).pid
        assert harness.engine.ensure(harness.spec("a", fence_epoch=2)).pid == pid

    def test_an_old_epoch_is_refused(self, harness: Harness) -> None:
        harness.engine.ensure(harness.spec("a", fence_epoch=3))
        with pytest.raises(FenceError, match="3"):
            harness.engine.ensure(harness.spec("b", fence_epoch=2))
        assert ids(harness.engine) == {"a"}

    def test_an_exited_replica_is_not_started_again(self, harness: Harness) -> None:
        harness.engine.ensure(harness.spec("a", "fails"))
        reach(harness, "a", ReplicaPhase.EXITED)
        assert harness.engine.ensure(harness.spec("a", "fails")).phase is ReplicaPhase.EXITED

    # --- failures of replicas ---

    def test_a_failed_load_keeps_its_own_words(self, harness: Harness) -> None:
        harness.engine.ensure(harness.spec("a", "fails"))
        gone = reach(harness, "a", ReplicaPhase.EXITED)
        assert gone.exit_code == 1
        assert "no weights in model.pkl" in gone.message
        assert (gone.pid, gone.address) == (None, "")

    def test_an_exit_without_words_is_explained(self, harness: Harness) -> None:
        harness.engine.ensure(harness.spec("a", "exits"))
        gone = reach(harness, "a", ReplicaPhase.EXITED)
        assert gone.exit_code == 7
        assert "7" in gone.message

    def test_a_hang_while_loading_ends_at_the_deadline(self, harness: Harness) -> None:
        harness.engine.ensure(harness.spec("a", "hangs", start_deadline_s=1.0))
        gone = reach(harness, "a", ReplicaPhase.EXITED)
        assert "not ready" in gone.message
        assert gone.exit_code == -9

    def test_a_ready_replica_outlives_the_start_deadline(self, harness: Harness) -> None:
        harness.engine.ensure(harness.spec("a", start_deadline_s=3.0))
        reach(harness, "a", ReplicaPhase.READY)
        harness.pass_time(3.2)
        assert status(harness.engine, "a").phase is ReplicaPhase.READY

    def test_a_crash_is_seen(self, harness: Harness) -> None:
        harness.engine.ensure(harness.spec("a"))
        reach(harness, "a", ReplicaPhase.READY)
        harness.crash("a")
        gone = reach(harness, "a", ReplicaPhase.EXITED, within_s=1.0)
        assert gone.exit_code == -9
        assert gone.message

    def test_a_crash_leaves_the_others_alone(self, harness: Harness) -> None:
        for each in ("a", "b"):
            harness.engine.ensure(harness.spec(each))
        reach(harness, "a", ReplicaPhase.READY)
        ready = reach(harness, "b", ReplicaPhase.READY)
        harness.crash("a")
        reach(harness, "a", ReplicaPhase.EXITED)
        assert status(harness.engine, "b").pid == ready.pid

    # --- list ---

    def test_at_first_there_is_nothing(self, harness: Harness) -> None:
        assert harness.engine.list() == ()
        assert harness.engine.health() is EngineHealth.UP

    def test_list_is_complete(self, harness: Harness) -> None:
        for each in ("a", "b", "c"):
            harness.engine.ensure(harness.spec(each))
        assert ids(harness.engine) == {"a", "b", "c"}

    def test_an_exited_replica_stays_until_it_is_stopped(self, harness: Harness) -> None:
        harness.engine.ensure(harness.spec("a", "fails"))
        reach(harness, "a", ReplicaPhase.EXITED)
        harness.pass_time(1.0)
        assert ids(harness.engine) == {"a"}
        harness.engine.stop("a", grace_s=1.0, fence_epoch=0)
        wait(harness, lambda: ids(harness.engine) == set())

    def test_what_is_not_known_is_never_an_empty_list(self, harness: Harness) -> None:
        harness.engine.ensure(harness.spec("a"))
        pid = reach(harness, "a", ReplicaPhase.READY).pid
        with harness.unreachable():
            with pytest.raises(EngineUnreachable):
                harness.engine.list()
            assert harness.engine.health() is not EngineHealth.UP
        assert status(harness.engine, "a").pid == pid
        wait(harness, lambda: harness.engine.health() is EngineHealth.UP)

    # --- stop ---

    def test_stop_lets_a_replica_finish_and_forgets_it(self, harness: Harness) -> None:
        harness.engine.ensure(harness.spec("a", "drains-slowly"))
        reach(harness, "a", ReplicaPhase.READY)
        harness.engine.stop("a", grace_s=30.0, fence_epoch=0)
        assert status(harness.engine, "a").phase is ReplicaPhase.DRAINING
        wait(harness, lambda: ids(harness.engine) == set())

    def test_stop_is_idempotent(self, harness: Harness) -> None:
        harness.engine.ensure(harness.spec("a"))
        reach(harness, "a", ReplicaPhase.READY)
        harness.engine.stop("a", grace_s=5.0, fence_epoch=0)
        harness.engine.stop("a", grace_s=5.0, fence_epoch=0)
        wait(harness, lambda: ids(harness.engine) == set())
        harness.engine.stop("a", grace_s=5.0, fence_epoch=0)
        assert harness.engine.list() == ()

    def test_stopping_the_unknown_is_no_error(self, harness: Harness) -> None:
        harness.engine.stop("nobody", grace_s=1.0, fence_epoch=0)
        harness.engine.stop("../../etc/passwd", grace_s=1.0, fence_epoch=0)
        assert harness.engine.list() == ()

    def test_after_the_grace_it_is_killed(self, harness: Harness) -> None:
        harness.engine.ensure(harness.spec("a", "ignores-term"))
        reach(harness, "a", ReplicaPhase.READY)
        harness.engine.stop("a", grace_s=0.5, fence_epoch=0)
        wait(harness, lambda: ids(harness.engine) == set(), within_s=3.0)

    def test_a_shorter_grace_wins(self, harness: Harness) -> None:
        harness.engine.ensure(harness.spec("a", "ignores-term"))
        reach(harness, "a", ReplicaPhase.READY)
        harness.engine.stop("a", grace_s=600.0, fence_epoch=0)
        harness.engine.stop("a", grace_s=0.1, fence_epoch=0)
        wait(harness, lambda: ids(harness.engine) == set(), within_s=3.0)

    def test_what_still_loads_can_be_stopped(self, harness: Harness) -> None:
        harness.engine.ensure(harness.spec("a", "hangs"))
        reach(harness, "a", ReplicaPhase.LOADING)
        harness.engine.stop("a", grace_s=2.0, fence_epoch=0)
        wait(harness, lambda: ids(harness.engine) == set())

    def test_an_old_epoch_stops_nothing(self, harness: Harness) -> None:
        harness.engine.ensure(harness.spec("a"))
        pid = reach(harness, "a", ReplicaPhase.READY).pid
        newer = harness.successor()
        newer.renew(Lease(4))
        for name in ("a", "nobody"):
            with pytest.raises(FenceError, match="4"):
                harness.engine.stop(name, grace_s=0.0, fence_epoch=3)
        harness.pass_time(0.3)
        found = status(newer, "a")
        assert (found.phase, found.pid) == (ReplicaPhase.READY, pid)
        newer.stop("a", grace_s=5.0, fence_epoch=4)
        wait(harness, lambda: ids(newer) == set())

    def test_who_stops_is_in_charge_from_then_on(self, harness: Harness) -> None:
        harness.engine.stop("nobody", grace_s=0.0, fence_epoch=7)
        with pytest.raises(FenceError, match="7"):
            harness.engine.ensure(harness.spec("a", fence_epoch=6))

    # --- logs, watch, renew, the rest ---

    def test_logs_show_what_was_printed(self, harness: Harness) -> None:
        harness.engine.ensure(harness.spec("a", "prints"))
        reach(harness, "a", ReplicaPhase.READY)
        assert "line 19999" in harness.engine.logs("a")

    def test_logs_give_the_end_only(self, harness: Harness) -> None:
        harness.engine.ensure(harness.spec("a", "prints"))
        reach(harness, "a", ReplicaPhase.READY)
        text = harness.engine.logs("a", tail_bytes=500)
        assert "line 19999" in text
        assert len(text.encode()) <= 500

    def test_logs_outlive_the_stop(self, harness: Harness) -> None:
        harness.engine.ensure(harness.spec("a", "prints"))
        reach(harness, "a", ReplicaPhase.READY)
        harness.engine.stop("a", grace_s=2.0, fence_epoch=0)
        wait(harness, lambda: ids(harness.engine) == set())
        assert "line 19999" in harness.engine.logs("a")

    def test_nobody_has_no_logs(self, harness: Harness) -> None:
        assert harness.engine.logs("nobody") == ""

    def test_watchers_are_woken_by_what_happens(self, harness: Harness) -> None:
        woken: list[int] = []
        harness.engine.watch(lambda: woken.append(1))
        harness.engine.ensure(harness.spec("a"))
        wait(harness, lambda: bool(woken))
        reach(harness, "a", ReplicaPhase.READY)
        harness.pass_time(0.2)
        woken.clear()
        harness.crash("a")
        wait(harness, lambda: bool(woken), within_s=1.0)

    def test_a_controller_with_an_old_epoch_can_not_renew(self, harness: Harness) -> None:
        harness.engine.renew(Lease(5))
        harness.engine.renew(Lease(5))
        harness.engine.renew(Lease(6))
        with pytest.raises(FenceError):
            harness.engine.renew(Lease(5))

    def test_there_is_room_somewhere(self, harness: Harness) -> None:
        nodes = harness.engine.capacity()
        assert nodes
        assert all(each.node and each.cpus > 0 and each.memory_bytes > 0 for each in nodes)

    # --- a new controller ---

    def test_a_successor_finds_what_runs(self, harness: Harness) -> None:
        harness.engine.ensure(harness.spec("a"))
        ready = reach(harness, "a", ReplicaPhase.READY)
        found = status(harness.successor(), "a")
        assert found == ready

    def test_a_successor_finds_what_ended(self, harness: Harness) -> None:
        harness.engine.ensure(harness.spec("a", "fails"))
        gone = reach(harness, "a", ReplicaPhase.EXITED)
        found = status(harness.successor(), "a")
        assert (found.phase, found.message) == (gone.phase, gone.message)

    def test_a_successor_does_not_start_it_twice(self, harness: Harness) -> None:
        harness.engine.ensure(harness.spec("a"))
        ready = reach(harness, "a", ReplicaPhase.READY)
        other = harness.successor()
        assert other.ensure(harness.spec("a", fence_epoch=1)).pid == ready.pid
        with pytest.raises(SpecChanged):
            other.ensure(harness.spec("a", max_batch=7, fence_epoch=1))

    def test_a_successor_can_stop_it(self, harness: Harness) -> None:
        harness.engine.ensure(harness.spec("a"))
        reach(harness, "a", ReplicaPhase.READY)
        other = harness.successor()
        other.stop("a", grace_s=5.0, fence_epoch=0)
        wait(harness, lambda: ids(other) == set())
        wait(harness, lambda: ids(harness.engine) == set())

    def test_a_successor_sees_a_crash(self, harness: Harness) -> None:
        harness.engine.ensure(harness.spec("a"))
        reach(harness, "a", ReplicaPhase.READY)
        other = harness.successor()
        assert status(other, "a").phase is ReplicaPhase.READY
        harness.crash("a")
        wait(harness, lambda: status(other, "a").phase is ReplicaPhase.EXITED, within_s=1.0)

    def test_the_epoch_outlives_the_controller(self, harness: Harness) -> None:
        harness.engine.renew(Lease(9))
        other = harness.successor()
        with pytest.raises(FenceError):
            other.ensure(harness.spec("a", fence_epoch=8))
        with pytest.raises(FenceError):
            harness.engine.renew(Lease(8))


def wait(harness: Harness, condition: Callable[[], T], *, within_s: float = 20.0) -> T:
    """What the condition gives as soon as it is true; fails after ``within_s`` by either clock."""
    passed, deadline = 0.0, time.monotonic() + within_s
    while not (result := condition()):
        assert passed <= within_s, "it did not come about"
        assert time.monotonic() < deadline, "it did not come about"
        harness.pass_time(0.02)
        passed += 0.02
    return result


def staged(engine: Engine, model: ModelRef):
    """The finished stage, or None."""
    stage = engine.stage(model)
    return None if stage.phase is StagePhase.STAGING else stage


def status(engine: Engine, replica_id: str) -> ReplicaStatus:
    return next(each for each in engine.list() if each.spec.replica_id == replica_id)


def ids(engine: Engine) -> set[str]:
    return {each.spec.replica_id for each in engine.list()}


def reach(
    harness: Harness, replica_id: str, phase: ReplicaPhase, *, within_s: float = 20.0
) -> ReplicaStatus:
    """The status as soon as the replica is in that phase."""

    def there() -> ReplicaStatus | None:
        found = status(harness.engine, replica_id)
        if found.phase is ReplicaPhase.EXITED is not phase:
            pytest.fail(f"{replica_id} ended: {found.message}")
        return found if found.phase is phase else None

    found = wait(harness, there, within_s=within_s)
    assert found is not None
    return found
