"""Classifies a failure by the order of proof: exact evidence first, drift last.

Pure: the same snapshot gives the same diagnosis. It asks nothing and changes nothing.
"""

from datetime import datetime

import msgspec

from serinus.parity.diagnosis.advice import advice
from serinus.parity.diagnosis.distance import ENOUGH
from serinus.parity.diagnosis.drift import drift, parity_passed
from serinus.parity.diagnosis.finding import (
    Confidence,
    Diagnosis,
    Exclusion,
    Finding,
    Verdict,
    locus_of,
)
from serinus.parity.diagnosis.identity import environment, identity
from serinus.parity.diagnosis.intake import intake
from serinus.parity.diagnosis.keyed import keyed
from serinus.parity.diagnosis.lookups import lookups
from serinus.parity.diagnosis.onset import nearest
from serinus.parity.diagnosis.outcomes import leakage, outcomes
from serinus.parity.diagnosis.recompute import recompute
from serinus.parity.diagnosis.replay import replay
from serinus.parity.diagnosis.since import with_onset
from serinus.parity.diagnosis.suspicion import suspicion
from serinus.parity.diagnosis.values import Snapshot
from serinus.parity.diagnosis.view import Found, View

__all__ = ["diagnose"]

_RANK = (Confidence.EXACT, Confidence.STRONG, Confidence.SUSPECTED, Confidence.INCONCLUSIVE)


def diagnose(snapshot: Snapshot) -> Diagnosis:
    """Find the class of what is wrong with an endpoint's live predictions."""
    view = View(snapshot)
    found = Found()
    for step in (identity, environment, intake, replay, lookups, keyed, recompute):
        found.add(step(view))
    found.add(suspicion(view, found.blameless, _explained(found)))
    proved = (Confidence.EXACT, Confidence.STRONG)
    exact = any(each.confidence in proved for each in found.findings)
    found.add(drift(view, found.blameless, _explained(found), exact))
    shifted = any(each.verdict in (Verdict.DRIFT, Verdict.INCONCLUSIVE) for each in found.findings)
    found.add(outcomes(view, bool(found.findings), shifted))
    found.add(leakage(view))
    return _told(view, found)


def _explained(found: Found) -> set[str]:
    """Fields whose difference has a cause already; that it can't be told is none."""
    return {
        name
        for each in found.findings
        if each.verdict is not Verdict.INCONCLUSIVE
        for name in each.features
    }


def _told(view: View, found: Found) -> Diagnosis:
    snapshot = view.snapshot
    findings = _ranked([with_onset(view, each) for each in _once(found.findings)])
    verdict, detail, confidence = _verdict(view, findings)
    first = findings[0] if findings else None
    since = first.since if first is not None else None
    event = nearest(snapshot.events, datetime.fromisoformat(since) if since else None)
    following, forbidden = advice(snapshot.scope.endpoint, findings, verdict, found.missing)
    return Diagnosis(
        verdict=verdict,
        detail=detail,
        confidence=confidence,
        locus=first.locus if first is not None else locus_of(detail),
        features=first.features if first is not None else [],
        since=since,
        share=first.share if first is not None else None,
        findings=findings,
        excluded=_standing(found.excluded, findings),
        missing=found.missing,
        next=following,
        do_not=forbidden,
        event=f"{event.at.isoformat()} {event.kind}: {event.text}" if event else None,
        notes=found.notes,
        rows=view.whole.sketch.rows,
        window=[snapshot.scope.since.isoformat(), snapshot.scope.until.isoformat()],
    )


def _once(findings: list[Finding]) -> list[Finding]:
    """One finding a cause: steps 4 and 7 prove the same by different rows."""
    kept: list[Finding] = []
    for each in findings:
        twin = next(
            (
                at
                for at, other in enumerate(kept)
                if (
                    other.verdict is each.verdict
                    and {other.step, each.step} <= {3, 8}
                    and other.features == each.features
                )
                or {other.step, each.step} == {4, 7}
                or other.detail == each.detail == "model.artefact"
            ),
            None,
        )
        if twin is None:
            kept.append(each)
        else:
            kept[twin] = msgspec.structs.replace(
                kept[twin], evidence=[*kept[twin].evidence, *each.evidence]
            )
    return kept


def _ranked(findings: list[Finding]) -> list[Finding]:
    placed = [
        msgspec.structs.replace(each, locus=locus_of(each.detail)) if not each.locus.value else each
        for each in findings
    ]
    return sorted(
        placed,
        key=lambda each: (_RANK.index(each.confidence), each.verdict is Verdict.DRIFT, each.step),
    )


def _verdict(view: View, findings: list[Finding]) -> tuple[Verdict, str, Confidence]:
    if findings:
        return findings[0].verdict, findings[0].detail, findings[0].confidence
    if view.whole.sketch.rows < ENOUGH:
        return (
            Verdict.INCONCLUSIVE,
            "inconclusive.not_enough_data",
            Confidence.INCONCLUSIVE,
        )
    if not view.profiled:
        return Verdict.INCONCLUSIVE, "inconclusive.no_profile", Confidence.INCONCLUSIVE
    if not parity_passed(view) or not view.snapshot.replicas:
        return Verdict.INCONCLUSIVE, "inconclusive.no_parity", Confidence.INCONCLUSIVE
    return Verdict.HEALTHY, "healthy", Confidence.STRONG


def _standing(excluded: list[Exclusion], findings: list[Finding]) -> list[Exclusion]:
    """Exclusions that no finding speaks against."""
    heads = {each.verdict.value for each in findings}
    details = {each.detail for each in findings}
    return [
        each
        for each in excluded
        if each.fault.partition(".")[0] not in heads
        or ("." in each.fault and each.fault not in details)
    ]
