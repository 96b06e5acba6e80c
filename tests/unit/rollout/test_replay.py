"""Decisions of real rollouts, made again from their journals, whole and tampered with."""

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from serinus.controller.evidence import Assessor
from serinus.entities import WHOLE
from serinus.evidence.summary import Arm, Flush, StageSummary
from serinus.rollout.replay import Entry, Replayed, replay
from serinus.rollout.state import Phase
from tests.unit.controller.test_evidence import _at_five_percent, _summary
from tests.unit.controller.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    world.serve()
    yield world
    world.close()


def _journal(world: World) -> list[Entry]:
    entries = world.store.rollouts.journal("r1")
    return [Entry(e.id, e.at, e.actor, e.data) for e in entries if e.kind == "rollout_decided"]


def _again(world: World, entries: list[Entry]) -> tuple[Replayed, ...]:
    return replay(world.state(), entries)


def _rolled_back(world: World) -> list[Entry]:
    """The journal of a rollout whose candidate failed a fifth of its requests."""
    assessor = Assessor(world.store)
    _at_five_percent(world, assessor)
    bad = _summary(world, stable_errors=2, candidate_errors=20)
    assessor.on_summary(("g", "i"), Flush("g", "i", 1, [bad]))
    world.until(lambda: world.phase() is Phase.ROLLED_BACK, seconds=30)
    return _journal(world)


def _split(world: World, requests: int) -> StageSummary:
    """Requests without errors, split as the stage says."""
    state = world.state()
    summary = StageSummary("r1", state.stage, candidate_bp=state.candidate_bp, control_bp=0)
    candidates = requests * state.candidate_bp // WHOLE
    for number in range(requests):
        arm = Arm.CANDIDATE if number < candidates else Arm.STABLE
        summary.record(arm, None, 0.020, 1000)
    return summary


def _verdict(entries: list[Entry]) -> int:
    """Where in the journal it was decided to roll back."""
    return next(n for n, each in enumerate(entries) if each.data["to"] == "ROLLING_BACK")


def test_a_rollback_by_evidence_stands(world: World) -> None:
    entries = _rolled_back(world)
    found = _again(world, entries)
    assert [each.against for each in found] == [()] * len(entries)
    back = found[_verdict(entries)]
    assert back.judged
    assert [each.verdict.value for each in back.verdicts] == ["REGRESSED"]
    assert back.entry.data["next_bp"] == 5_000


def test_steps_by_evidence_stand_up_to_the_end(world: World) -> None:
    assessor = Assessor(world.store)
    _at_five_percent(world, assessor)
    assessor.on_summary(("g", "i"), Flush("g", "i", 1, [_split(world, 20_000)]))
    world.until(lambda: world.weights().get("m-2") == 5_000, seconds=20)
    assessor.on_summary(("g", "i"), Flush("g", "i", 2, [_split(world, 20_000)]))
    world.until(lambda: world.phase() is Phase.SUCCEEDED, seconds=20)
    found = _again(world, _journal(world))
    assert all(each.stands for each in found), [each.against for each in found]
    raised = [each.entry.data["candidate_bp"] for each in found]
    assert sorted(set(raised)) == [0, 500, 5_000, WHOLE]


def test_whatever_people_asked_for_stands(world: World) -> None:
    world.roll_out(2, guardrails=[], step={"min_duration": "5s", "warmup": "0s"})
    world.until(lambda: world.weights().get("m-2") == 100)
    for verb in ("pause", "resume", "promote", "abort"):
        world.ask(verb)
        world.pass_time(1)
    world.until(lambda: world.phase() is Phase.ROLLED_BACK)
    world.ask("retry")
    world.until(lambda: world.phase() is Phase.SUCCEEDED)
    found = _again(world, _journal(world))
    assert {each.entry.data["event"] for each in found} >= {
        *("observed", "pause", "resume", "promote", "abort", "retry")
    }
    assert all(each.stands for each in found), [each.against for each in found]
    assert not any(each.judged for each in found)


def _with(entries: list[Entry], number: int, change: Callable[[dict[str, Any]], None]) -> None:
    entry = entries[number]
    data = copy.deepcopy(dict(entry.data))
    change(data)
    entries[number] = Entry(entry.id, entry.at, entry.actor, data)


def _fallen(found: tuple[Replayed, ...]) -> list[int]:
    return [number for number, each in enumerate(found) if not each.stands]


def _harmless(data: dict[str, Any]) -> None:
    for stage in data["evidence"]["ledger"]["entries"].values():
        for _, summary in stage.values():
            summary["candidate"] = copy.deepcopy(summary["stable"])


def _forgive(data: dict[str, Any]) -> None:
    data["verdicts"][0]["verdict"] = "UNDECIDED"


def _go_on(data: dict[str, Any]) -> None:
    data.update({"to": "PROGRESSING", "candidate_bp": 5_000})


def _aim_lower(data: dict[str, Any]) -> None:
    data["next_bp"] = 1


def _forget(data: dict[str, Any]) -> None:
    del data["facts"]


def _garble(data: dict[str, Any]) -> None:
    data["evidence"] = {"ledger": 7}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_harmless, "By its evidence, to is"),
        (_forgive, "error_rate was written down as UNDECIDED"),
        (_go_on, "the journal says 'PROGRESSING'"),
        (_aim_lower, "judged for 0.01%; the next step takes 50%"),
        (_forget, "does not hold what the decision was made from"),
        (_garble, "can't be judged"),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_a_decision_that_its_evidence_does_not_bear_falls(
    world: World, change: Callable[[dict[str, Any]], None], told: str
) -> None:
    entries = _rolled_back(world)
    number = _verdict(entries)
    _with(entries, number, change)
    found = _again(world, entries)
    assert number in _fallen(found)
    assert not [each for each in _fallen(found) if each < number]
    assert told in " ".join(found[number].against)


def test_a_changed_entry_does_not_take_others_with_it(world: World) -> None:
    entries = _rolled_back(world)
    number = _verdict(entries)
    _with(entries, number, _harmless)
    assert _fallen(_again(world, entries)) == [number]


def test_a_decision_that_is_missing_is_missed(world: World) -> None:
    entries = _rolled_back(world)
    number = _verdict(entries)
    del entries[number]
    found = _again(world, entries)
    assert "by the decisions before, it was PROGRESSING" in found[number].against[0]
