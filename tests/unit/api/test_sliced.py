"""Outcomes by part of the traffic: who is worse than before, and who is not accused."""

from typing import Any

import numpy as np
import pytest

from serinus.api.measured import measured_of
from serinus.parity.contract import Contract
from serinus.parity.diagnosis.diagnose import diagnose
from serinus.parity.live import Record
from serinus.store.samples import Sampled
from tests.unit.parity.diagnosis.known import contract, rows_like_training, snapshot

_NOW, _THEN = 2000.0, 1000.0


def _sampled(
    right: dict[str, float], at: float, seed: int, *, served: str = "m", count: int = 3000
) -> list[Sampled]:
    """Requests of three plans in turn, answered right as often as their plan says."""
    random = np.random.default_rng(seed)
    found = []
    for number in range(count):
        plan = ("Gold", "Silver", "Free")[number % 3]
        good = float(random.random() < right[plan])
        record = Record(
            at=at,
            request_id=f"{served}-{at}-{number}",
            caller=("web", "app")[number % 2],
            rows=[{"plan": plan}],
            answer=b'{"predictions": [1]}',
        )
        found.append(Sampled("e", served, "r", served, record, {"accuracy": good}))
    return found


def _said(some: list[Sampled], others: list[Sampled] | None = None) -> Any:
    made: Contract = contract()[0]
    measured = measured_of(some, made, _NOW, lambda: others or [])
    return diagnose(snapshot(rows_like_training(2000, 2), measured=measured))


_GOOD = {"Gold": 0.9, "Silver": 0.9, "Free": 0.9}
_WORSE = {**_GOOD, "Gold": 0.75}


def test_a_part_that_is_worse_than_before_is_named_and_no_other() -> None:
    # All of it is a little worse, and no figure of training is there to hold it against.
    said = _said(_sampled(_WORSE, _NOW, 1) + _sampled(_GOOD, _THEN, 2, count=6000))
    assert said.detail in ("model.quality", "drift.concept")
    made = contract()[0]
    both = _sampled(_WORSE, _NOW, 1) + _sampled(_GOOD, _THEN, 2, count=6000)
    parts = [each for each in measured_of(both, made, _NOW) or [] if each.part]
    assert {each.part for each in parts} == {
        "caller=web", "caller=app", "plan=Gold", "plan=Silver", "plan=Free",
    }  # fmt: skip
    assert parts[0].part == "plan=Gold"
    assert parts[0].before == pytest.approx(0.9, abs=0.03)
    assert (parts[0].before_labels, parts[0].before_version) == (2000, "")


def test_a_new_version_is_laid_beside_the_one_before_it() -> None:
    others = _sampled(_GOOD, _THEN, 2, served="m-1")
    said = _said(_sampled(_WORSE, _NOW, 1), others)
    assert (said.detail, said.findings[0].pattern) == ("model.quality", "plan=Gold")
    assert "before by m-1" in said.findings[0].evidence[0].text
    assert [each.pattern for each in said.findings] == ["plan=Gold"]


@pytest.mark.parametrize("seed", range(10))
def test_chance_makes_no_part_worse(seed: int) -> None:
    others = _sampled(_GOOD, _THEN, 100 + seed, served="m-1", count=900)
    assert _said(_sampled(_GOOD, _NOW, seed, count=900), others).detail == "healthy"


def test_few_outcomes_accuse_no_part() -> None:
    made = contract()[0]
    few = _sampled(_WORSE, _NOW, 1, count=450) + _sampled(_GOOD, _THEN, 2)
    measured = measured_of(few, made, _NOW) or []
    assert not [each for each in measured if each.part.startswith("plan=")]
    assert measured_of([], made, _NOW) is None
