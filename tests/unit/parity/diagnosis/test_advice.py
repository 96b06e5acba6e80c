"""What to do next fits what was found."""

import pytest

from serinus.parity.diagnosis.advice import advice
from serinus.parity.diagnosis.finding import Confidence, Finding, Verdict


@pytest.mark.parametrize(
    ("pattern", "declares"), [("refused: type", False), ("unit: x 2.54 (in → cm)", True)]
)
def test_nobody_is_told_to_declare_a_rule_for_what_is_refused_already(
    pattern: str, declares: bool
) -> None:
    first = Finding(
        verdict=Verdict.SCHEMA,
        detail="schema.structure",
        confidence=Confidence.EXACT,
        pattern=pattern,
        callers=["app"],
    )
    following, forbidden = advice("shop", [first], Verdict.SCHEMA, [])
    assert any("app" in each for each in following)
    assert any("Declare" in each for each in following) is declares
    assert any("learn the bug" in each for each in forbidden) is declares
