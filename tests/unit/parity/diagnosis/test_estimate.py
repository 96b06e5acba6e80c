"""What is said of the answers without a label: only of calibrated scores, after parity passed."""

from typing import Any

import msgspec
import numpy as np
import pytest

from serinus.parity.buckets import Bins
from serinus.parity.contract import Contract, Metric, Outputs
from serinus.parity.diagnosis.advice import may_retrain
from serinus.parity.diagnosis.diagnose import diagnose
from serinus.parity.diagnosis.estimate import estimate
from serinus.parity.diagnosis.finding import Confidence, Diagnosis, Finding, Verdict, family
from serinus.parity.diagnosis.values import Snapshot
from serinus.parity.diagnosis.view import View
from serinus.parity.profiles import ScoreProfile
from serinus.parity.verification import Gate, GateResult
from tests.unit.parity.diagnosis.known import rows_like_training, snapshot

_EDGES = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]


def _facts(
    live: list[int], outputs: Outputs, *, accuracy: float | None = None, **more: Any
) -> Snapshot:
    """Rows whose stock moved with the world, on a model that answers probabilities."""
    cells = rows_like_training(4000, 2)
    cells["stock"] = [each * each / 50 for each in cells["stock"]]
    facts = snapshot(cells, **more)
    metrics = [] if accuracy is None else [Metric(name="accuracy", offline=accuracy, rows=100)]
    contract: Contract = msgspec.structs.replace(facts.contract, outputs=outputs, metrics=metrics)
    # Training: half of the rows at 0.1, half at 0.9.
    score = ScoreProfile(n=200, edges=_EDGES, counts=[0, 100, 0, 0, 0, 100, 0])
    profile = msgspec.structs.replace(facts.profile, score=score)
    for sketch in facts.live.values():
        sketch.score.bins = Bins(np.array(live))
    return Snapshot(
        **{
            **{name: getattr(facts, name) for name in facts.__dataclass_fields__},
            "contract": contract,
            "profile": profile,
        }
    )


_TWO = Outputs(kind="probability", classes=["0", "1"], column=1)


@pytest.mark.parametrize(
    ("outputs", "live", "says"),
    [
        (_TWO, [0, 0, 100, 0, 100, 0, 0], "right for 70.0% of rows, 90.0% in training"),
        (
            msgspec.structs.replace(_TWO, threshold=0.35),
            [0, 0, 0, 100, 0, 0, 0],
            "right for 50.0% of rows",
        ),
        (
            msgspec.structs.replace(_TWO, threshold=0.2),
            [0, 0, 100, 0, 0, 0, 0],
            "right for 30.0% of rows",
        ),
        (
            Outputs(kind="probability", classes=["a", "b", "c"]),
            [0, 0, 100, 0, 0, 0, 0],
            "right for 30.0% of rows",
        ),
    ],
)
def test_it_is_what_the_decision_by_each_score_would_be(
    outputs: Outputs, live: list[int], says: str
) -> None:
    assert says in estimate(View(_facts(live, outputs)))


def test_a_drift_tells_it_and_names_the_method() -> None:
    said = diagnose(_facts([0, 100, 0, 0, 0, 100, 0], _TWO, accuracy=0.9))
    assert said.verdict is Verdict.DRIFT
    [told] = [each.text for each in said.findings[0].evidence if "estimate" in each.text]
    assert "(CBPE)" in told
    assert "(measured there: 90.0%)" in told


def test_nothing_is_estimated_of_scores_that_are_no_measure_or_without_parity() -> None:
    live = [0, 100, 0, 0, 0, 100, 0]
    assert estimate(View(_facts(live, _TWO, accuracy=0.7))) == ""
    assert estimate(View(_facts(live, Outputs(kind="number")))) == ""
    assert estimate(View(_facts([1, 2], _TWO))) == ""
    failed = Gate(name="golden_replay", result=GateResult.FAIL, fault="model.bug", stage="S4")
    for gates in ((failed,), ()):
        said = diagnose(_facts(live, _TWO, gates=gates))
        assert "estimate" not in str(msgspec.to_builtins(said))


def _said(verdict: Verdict, *beside: Verdict) -> Diagnosis:
    findings = [
        Finding(verdict=each, detail=f"{each.value}.x", confidence=Confidence.STRONG)
        for each in ([verdict] if verdict is not Verdict.HEALTHY else []) + list(beside)
    ]
    return Diagnosis(
        verdict=verdict, detail=verdict.value, confidence=Confidence.STRONG, findings=findings
    )


@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize("verdict", list(Verdict))
def test_ci_may_train_on_the_healthy_and_the_drifted_with_fresh_parity_only(
    verdict: Verdict, fresh: bool
) -> None:
    allowed, reason = may_retrain(_said(verdict), fresh=fresh)
    assert allowed is (fresh and verdict in (Verdict.HEALTHY, Verdict.DRIFT))
    assert reason.endswith(".")
    assert may_retrain(_said(verdict, Verdict.SCHEMA), fresh=True)[0] is False
    assert may_retrain(None, fresh=fresh)[0] is False
    assert family("drift.covariate") is Verdict.DRIFT
