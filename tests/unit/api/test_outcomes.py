"""How requests turned out, told later: what is taken, what is said of it, what comes of it."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serinus.controller.evidence import Assessor
from serinus.evidence.exposure import Exposure, client_key, request_key
from serinus.evidence.summary import Arm, ErrorClass, Exclusion, Flush, StageSummary
from serinus.rollout.judging import Kept
from tests.unit.api.rolling import Rolling

WINDOW_S = 60
SPEC: dict[str, Any] = {
    "steps": [{"set_weight": "50%"}],
    "step": {"min_duration": "5s", "warmup": "0s"},
    "guardrails": [
        {"quality": {"metric": "accuracy", "max_drop": "20%", "label_window": f"{WINDOW_S}s"}}
    ],
}


class Labelled(Rolling):
    """A rollout at 50 % whose quality is judged, and requests of which outcomes may be told."""

    def __init__(self, directory: Path, **spec: Any) -> None:
        super().__init__(directory)
        self.assessor = Assessor(self.store)
        self.world.judge = self.assessor.judge
        self.rollout = self.start(**{**SPEC, **spec})["id"]
        self.world.until(lambda: self.world.weights().get("m-2") == 5000)
        self.sequence = 0

    def expose(self, *names: str, on_candidate: bool = True, unit: int | None = None) -> None:
        """Requests of these ids were answered just now."""
        self.sequence += 1
        at_us = int(self.world.at.timestamp() * 1e6)
        exposures = [
            Exposure(
                self.rollout,
                request_key(name.encode()),
                client_key(f"c-{name}"),
                unit,
                at_us + place,
                on_candidate,
                1,
                5000,
            )
            for place, name in enumerate(names)
        ]
        self.assessor.on_summary(("g", "i"), Flush("g", "i", self.sequence, [], exposures))

    def tell(self, *outcomes: dict[str, Any]) -> dict[str, Any]:
        return self.good("POST", "outcomes", {"outcomes": list(outcomes)})

    def later(self, seconds: float) -> None:
        self.world.at += timedelta(seconds=seconds)


@pytest.fixture
def labelled(tmp_path: Path) -> Iterator[Labelled]:
    labelled = Labelled(tmp_path)
    yield labelled
    labelled.world.close()


def test_each_label_is_answered_for_itself(labelled: Labelled) -> None:
    labelled.expose("a", "b", "late")
    labelled.later(5)
    told = labelled.tell(
        {"request_id": "a", "value": True, "time": "2026-03-01T12:00:00Z"},
        {"client_request_id": "c-b", "value": 0.25},
        {"request_id": "a", "value": False},
        {"request_id": "nobody", "value": 1},
    )
    assert told["results"] == ["accepted", "accepted", "duplicate", "unknown"]
    assert (told["accepted"], told["duplicate"], told["unknown"], told["too_late"]) == (2, 1, 1, 0)
    assert labelled.tell({"request_id": "b", "value": 1})["duplicate"] == 1  # the same request
    labelled.later(WINDOW_S)
    assert labelled.tell({"request_id": "late", "value": 1})["results"] == ["too_late"]


def test_a_request_of_no_rollout_is_unknown(tmp_path: Path) -> None:
    rolling = Rolling(tmp_path)
    body = {"outcomes": [{"request_id": "a", "value": 1}]}
    assert rolling.good("POST", "outcomes", body)["results"] == ["unknown"]
    assert rolling("POST", "/api/serinus/v1/endpoints/other/outcomes", body).status_code == 404
    rolling.world.close()


@pytest.mark.parametrize(
    ("item", "told"),
    [
        ({"value": 1}, "outcomes[0] must have either request_id"),
        ({"request_id": "a", "client_request_id": "b", "value": 1}, "outcomes[0] must have either"),
        ({"request_id": "a"}, "outcomes[0].value is None"),
        ({"request_id": "a", "value": 1.5}, "outcomes[0].value is 1.5"),
        ({"request_id": "a", "value": "yes"}, "outcomes[0].value is 'yes'"),
        ({"request_id": 7, "value": 1}, "outcomes[0].request_id must be a text"),
        ({"request_id": "a", "value": 1, "time": "noon"}, "outcomes[0].time is 'noon'"),
        ({"request_id": "a", "value": 1, "time": "2026-03-01T12:00:00"}, "without a zone"),
        ({"request_id": "a", "value": 1, "vaule": 1}, "did you mean value"),
        (3, "outcomes[0]"),
    ],
)
def test_what_is_no_label_is_named(labelled: Labelled, item: Any, told: str) -> None:
    status, _, message = labelled.refused("POST", "outcomes", {"outcomes": [item]})
    assert status == 400
    assert told in message


def test_what_is_no_list_of_labels_is_named(labelled: Labelled) -> None:
    assert "must be a list" in labelled.refused("POST", "outcomes", {})[2]
    many = {"outcomes": [{"request_id": "a", "value": 1}] * 5001}
    assert "at most 5,000" in labelled.refused("POST", "outcomes", many)[2]


def test_an_outcome_counts_when_its_window_is_over_and_not_before(labelled: Labelled) -> None:
    names = [f"r{number}" for number in range(40)]
    labelled.expose(*names[:20])
    labelled.expose(*names[20:], on_candidate=False)
    labelled.tell(*[{"request_id": name, "value": 1} for name in names])
    labelled.world.turn(2)
    [verdict] = labelled.now()["guardrails"]
    assert (verdict["name"], verdict["verdict"]) == ("quality:accuracy", "NO_DATA")
    labelled.world.pass_time(WINDOW_S + 10)
    kept = labelled.assessor._kept[labelled.rollout]
    assert isinstance(kept, Kept)
    assert kept.outcomes["quality:accuracy"].labelled == 40
    [told] = labelled.good("GET", f"rollouts/{labelled.rollout}/evidence")["outcomes"]
    assert told == {
        "name": "quality:accuracy",
        "candidate": {"outcomes": 20, "missing": 0},
        "stable": {"outcomes": 20, "missing": 0},
    }


def test_what_was_left_out_is_counted_and_shown(labelled: Labelled) -> None:
    summary = StageSummary(labelled.rollout, 1, 5000)
    summary.record(Arm.CANDIDATE, ErrorClass.MODEL, None)
    summary.exclude(Arm.CANDIDATE, Exclusion.WARM_UP)
    summary.exclude(Arm.STABLE, Exclusion.RETRIED)
    labelled.assessor.on_summary(("g", "i"), Flush("g", "i", 1, [summary]))
    labelled.world.pass_time(5)
    [counts] = labelled.good("GET", f"rollouts/{labelled.rollout}/evidence")["counts"]
    assert counts["arms"]["candidate"] == {
        "requests": 1,
        "units": 1,
        "errors": {"model": 1},
        "error_events": 1,
        "excluded": {"warm_up": 1},
    }
    assert counts["arms"]["stable"]["excluded"] == {"retried": 1}


def test_of_a_sticky_unit_the_first_request_counts(labelled: Labelled) -> None:
    labelled.expose("first", unit=7)
    labelled.expose("second", unit=7)
    told = labelled.tell({"request_id": "second", "value": 0}, {"request_id": "first", "value": 1})
    assert told["results"] == ["unknown", "accepted"]


def _told(labelled: Labelled, candidate: float, rounds: int) -> None:
    """Labels of both arms, which come late, until the window of all of them is over."""
    rng = np.random.default_rng(1)
    for turn in range(rounds):
        names = [f"{turn}-{number}" for number in range(200)]
        labelled.expose(*names[:100])
        labelled.expose(*names[100:], on_candidate=False)
        labelled.later(30)
        good = [rng.random() < (candidate if place < 100 else 0.8) for place in range(200)]
        labelled.tell(
            *[{"request_id": name, "value": value} for name, value in zip(names, good, strict=True)]
        )
    labelled.world.pass_time(WINDOW_S + 10)


def _replayed(labelled: Labelled) -> None:
    replayed = labelled.good("GET", f"rollouts/{labelled.rollout}/replay")
    assert replayed["stands"], [each["against"] for each in replayed["decisions"]]
    assert replayed["judged"] > 0


def test_a_candidate_of_worse_accuracy_goes_back(labelled: Labelled) -> None:
    _told(labelled, 0.3, 3)
    ended = labelled.until("ROLLED_BACK")
    assert ended["reason"].startswith("quality:accuracy regressed")
    assert "outcomes of the candidate have a mean of 0.3" in ended["reason"]
    _replayed(labelled)


def test_one_that_is_as_good_goes_on(labelled: Labelled) -> None:
    _told(labelled, 0.8, 6)
    labelled.until("SUCCEEDED")
    _replayed(labelled)


def test_the_holdback_is_compared_during_the_bake(tmp_path: Path) -> None:
    labelled = Labelled(tmp_path, bake={"holdback": "20%", "for": "1h"})
    labelled.good("POST", "rollouts/current/promote", {"full": True})
    labelled.until("BAKING")
    stage = labelled.world.gateways.now.stage
    assert stage is not None
    assert (stage.candidate_bp, stage.exposures_per_s) == (8000, 200.0)
    _told(labelled, 0.3, 3)
    ended = labelled.until("ROLLED_BACK")
    assert ended["reason"].startswith("quality:accuracy regressed")
    assert labelled.split() == {"m-1": 100}
    _replayed(labelled)
    labelled.world.close()


def test_a_new_controller_goes_on_with_what_was_told(labelled: Labelled) -> None:
    _told(labelled, 0.8, 1)
    before = labelled.assessor._kept[labelled.rollout]
    labelled.assessor = Assessor(labelled.store)
    labelled.world.judge = labelled.assessor.judge
    labelled.world.pass_time(5)
    assert labelled.assessor._kept[labelled.rollout].outcomes == before.outcomes
