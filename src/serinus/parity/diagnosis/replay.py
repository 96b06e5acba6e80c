"""Step 4: what the golden rows proved, by the first stage that differs.

Equal answers exclude preprocessing, environment and the model itself, for those inputs. It runs
nothing; the replay was done beforehand.
"""

from serinus.parity.diagnosis.finding import Confidence, Finding, family
from serinus.parity.diagnosis.identity import named
from serinus.parity.diagnosis.view import Found, View, fact
from serinus.parity.verification import Gate, GateResult

__all__ = ["fresh", "replay"]

#: What other steps prove better: who serves (1), libraries (2), lookups (5), training (11).
_ELSEWHERE = ("routing", "environment", "availability", "staleness", "drift")
_STAGES = ("S1", "S2", "S3", "S4", "S5", "answer")


def fresh(view: View) -> bool:
    """True when golden rows were replayed inside of the window."""
    golden = view.snapshot.golden
    return golden is not None and golden.at >= view.snapshot.scope.since


def replay(view: View) -> Found:
    """Step 4."""
    found, golden = Found(), view.snapshot.golden
    if golden is None:
        found.missing.append("No golden rows were replayed: run serinus diagnose --live.")
        return found
    for gate in golden.gates:
        if gate.result is GateResult.FAIL:
            detail = _class(view, gate)
            if detail:
                found.findings.append(_finding(view, gate, detail))
                break  # later stages differ because an earlier one does
    if golden.unsteady and not found.findings:
        found.findings.append(
            Finding(
                verdict=family("environment"),
                detail="environment.unsteady",
                confidence=Confidence.EXACT,
                share=1.0,
                evidence=[fact("the same golden rows, replayed twice, gave different answers")],
                step=4,
            )
        )
    if not found.findings:
        _passed(view, found)
    return found


def _passed(view: View, found: Found) -> None:
    golden = view.snapshot.golden
    if golden is None:
        return
    if not any(each.result is GateResult.PASS for each in golden.gates):
        found.missing.append("No golden rows were compared: run serinus diagnose --live.")
    elif fresh(view):
        test = f"golden replay by stage of {golden.rows} rows, all equal (step 4)"
        for fault in ("preprocessing", "environment", "model"):
            found.exclude(fault, test)
    else:
        found.missing.append(
            "The last golden replay is older than the window: run serinus diagnose --live."
        )


def _class(view: View, gate: Gate) -> str:
    """The class in full that a failed gate proves; empty: another step proves it better."""
    stage = gate.stage.partition(":")[0]
    golden, differences = view.snapshot.golden, view.libraries
    if stage in ("S1", "S2"):
        return "preprocessing.parse" if stage == "S1" else "preprocessing.compute"
    if stage == "S3":
        return "environment.transform" if differences else "preprocessing.transform"
    if stage == "S5":
        return "preprocessing.decision"
    if stage in ("S4", "answer"):
        if golden is not None and golden.artefact_equal is False:
            return "model.artefact"
        if gate.fault.startswith("model.artefact"):
            return gate.fault
        return "environment.score" if differences else "model.bug"
    head = gate.fault.partition(".")[0]
    return "" if not head or head in _ELSEWHERE or head == "schema" else gate.fault


def _finding(view: View, gate: Gate, detail: str) -> Finding:
    evidence = [fact(f"{gate.name}: {gate.detail}")]
    if view.libraries and detail.startswith("environment"):
        evidence.append(fact(f"the environment is not training's: {named(view.libraries)}"))
    return Finding(
        verdict=family(detail),
        detail=detail,
        confidence=Confidence.EXACT,
        features=_features(view, gate.detail),
        share=1.0,
        evidence=evidence,
        step=4,
        pattern=f"first difference at {gate.stage}" if gate.stage in _STAGES else gate.name,
    )


def _features(view: View, text: str) -> list[str]:
    """Fields that a gate's text quotes."""
    return [each.name for each in view.fields if f"'{each.name}'" in text]
