"""Steps 1 and 2: is it the version that was meant, with the share that was meant, and on what?

A difference of environment is remembered here and never concluded from; golden rows decide that.
"""

import math

from serinus.parity.diagnosis.finding import Confidence, Finding, Verdict
from serinus.parity.diagnosis.values import LibraryDifference, Replica, RouteShare
from serinus.parity.diagnosis.view import Found, View, fact
from serinus.parity.verification import GateResult

__all__ = ["environment", "identity", "named"]

_ENOUGH = 1000
_SIGMAS = 5.0
_POINTS = 0.02


def identity(view: View) -> Found:
    """Step 1."""
    found, snapshot = Found(), view.snapshot
    if snapshot.replicas:
        _digests(found, snapshot.replicas)
        _files(found, view, snapshot.replicas)
    else:
        found.missing.append("No replica said which model it serves, so routing is not excluded.")
    if not found.findings:
        _verified(found, view)
    _late(found, *snapshot.late_gateways)
    _weights(found, snapshot.shares)
    if snapshot.switched_units > max(3.0, 0.001 * snapshot.units):
        found.findings.append(
            _finding(
                "assignment",
                snapshot.switched_units / max(snapshot.units, 1),
                f"{snapshot.switched_units} of {snapshot.units} units were answered by two "
                "versions while no weight changed: the assignment changed its key or its salt",
                Confidence.EXACT,
            )
        )
    return found


def _verified(found: Found, view: View) -> None:
    """What the last verification said of who serves."""
    golden = view.snapshot.golden
    for gate in golden.gates if golden is not None else []:
        if gate.result is GateResult.FAIL and gate.fault.startswith("routing"):
            text = f"{gate.name}: {gate.detail}"
            found.findings.append(_finding("version", 1.0, text, Confidence.EXACT))
            return


def _digests(found: Found, replicas: list[Replica]) -> None:
    wrong = [
        each
        for each in replicas
        if each.served_digest and each.served_digest != each.intended_digest
    ]
    if wrong:
        mixed = "" if len(wrong) == len(replicas) else f", {len(replicas) - len(wrong)} are right"
        found.findings.append(
            _finding(
                "version",
                len(wrong) / len(replicas),
                f"{len(wrong)} of {len(replicas)} replicas serve another model than intended"
                f"{mixed}: {wrong[0].id} has {wrong[0].served_digest[:12]}, "
                f"{wrong[0].intended_digest[:12]} was intended",
                Confidence.EXACT,
            )
        )
        return
    known = [each for each in replicas if each.served_digest]
    contracts = [
        each
        for each in known
        if each.served_contract and each.served_contract != each.intended_contract
    ]
    if contracts:
        found.findings.append(
            _finding(
                "contract",
                len(contracts) / len(replicas),
                f"{contracts[0].id} serves with another contract than the model's",
                Confidence.EXACT,
            )
        )
    elif known:
        read = sum(each.files_digest == each.intended_digest for each in known)
        more = f", {read} of them by their files read again" if read else ""
        found.exclude(
            "routing",
            f"model digests of {len(known)} replicas equal the intended ones{more} (step 1)",
        )


def _files(found: Found, view: View, replicas: list[Replica]) -> None:
    """The files that replicas have loaded, read again."""
    changed = [each for each in replicas if each.files_digest not in ("", each.served_digest)]
    for other in (True, False):
        some = [
            each for each in changed if (each.files_digest in view.snapshot.known_digests) is other
        ]
        if not some:
            continue
        first, share = some[0], len(some) / len(replicas)
        text = (
            f"the files under {len(some)} of {len(replicas)} replicas hash to "
            f"{first.files_digest[:12]}, {first.served_digest[:12]} was pinned: {first.id}"
        )
        if other:
            text += " has the files of another version of this endpoint"
            found.findings.append(_finding("version", share, text, Confidence.EXACT))
        else:
            found.findings.append(_damaged(share, text))
    touched = [each for each in replicas if not each.untouched and each not in changed]
    if touched:
        found.missing.append(
            f"The files under {touched[0].id} were touched after it had loaded them, and are the "
            "right ones now: start it again to be sure of what it has loaded."
        )


def _damaged(share: float, text: str) -> Finding:
    return Finding(
        verdict=Verdict.MODEL,
        detail="model.artefact",
        confidence=Confidence.EXACT,
        share=share,
        evidence=[fact(text)],
        step=1,
        pattern="files changed",
    )


def _late(found: Found, late: list[str], gateways: int) -> None:
    if late:
        found.findings.append(
            _finding(
                "generation",
                len(late) / gateways,
                f"{len(late)} of {gateways} gateways serve by older routes than were published: "
                f"{', '.join(late[:5])}",
                Confidence.EXACT,
            )
        )


def _weights(found: Found, shares: list[RouteShare] | None) -> None:
    if shares is None:
        found.missing.append("No gateway told how it divides requests.")
        return
    # All together first: one gateway's share of a small deviation proves nothing by itself.
    for gateway in sorted({each.gateway for each in shares}):
        if _divided(found, [each for each in shares if each.gateway == gateway]):
            return


def _divided(found: Found, shares: list[RouteShare]) -> bool:
    """True when a share is not the one that was set."""
    total = sum(each.requests for each in shares)
    if total < _ENOUGH:
        return False
    for each in shares:
        spread = math.sqrt(max(each.wanted * (1 - each.wanted), 1 / total) / total)
        off = abs(each.requests / total - each.wanted)
        if off > max(_SIGMAS * spread, _POINTS):
            found.findings.append(
                _finding(
                    "weights",
                    off,
                    f"{each.served} got {each.requests / total:.1%} of {total} requests"
                    f"{f' at gateway {each.gateway}' if each.gateway else ''}, "
                    f"{each.wanted:.1%} was set",
                    Confidence.STRONG,
                )
            )
            return True
    return False


def _finding(what: str, share: float, text: str, confidence: Confidence) -> Finding:
    return Finding(
        verdict=Verdict.ROUTING,
        detail=f"routing.{what}",
        confidence=confidence,
        share=min(share, 1.0),
        evidence=[fact(text)],
        step=1,
    )


def environment(view: View) -> Found:
    """Step 2: a note, for step 4 to use."""
    found = Found()
    differences = view.snapshot.environment
    if differences is None:
        found.missing.append(
            "The serving environment is not known, so it can't be laid beside training's."
        )
    elif differences:
        found.notes.append(f"The environment is not training's: {named(differences)}.")
    else:
        found.exclude("environment", "the environment's lock equals training's (step 2)")
    return found


def named(differences: list[LibraryDifference], most: int = 5) -> str:
    """The differences in one line."""
    shown = ", ".join(f"{each.name} {each.trained} → {each.serving}" for each in differences[:most])
    return shown + (f" and {len(differences) - most} more" if len(differences) > most else "")
