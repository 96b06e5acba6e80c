"""A rollout in words, from its JSON. It asks nothing and decides nothing."""

from typing import Any

__all__ = ["entry_line", "past", "percent", "stands", "step_of", "verification_line"]


def percent(basis_points: int) -> str:
    """``250`` → ``2.5 %``."""
    return f"{basis_points / 100:g} %"


def step_of(found: dict[str, Any]) -> str:
    """``step 2 of 5``; empty when it is not on its steps."""
    if found.get("position") != "steps":
        return ""
    return f"step {found['step'] + 1} of {len(found['steps'])}"


def stands(found: dict[str, Any]) -> str:
    """Where it stands, in one line."""
    parts = [f"{found['phase']} at {percent(found['weight_bp'])}"]
    if found.get("shadow_bp"):
        parts[0] += f", copies of {percent(found['shadow_bp'])}"
    parts += filter(None, [step_of(found)])
    return f"{', '.join(parts)}: {found['reason']}"


def past(found: dict[str, Any]) -> str:
    """One line of the history: what ``--id`` takes comes whole, and what matters comes first."""
    began = str(found.get("started_at") or "-")[:19].replace("T", " ")
    versions = f"{found.get('stable') or '-'} → {found['candidate']}"
    who = f"{found['strategy']} by {found.get('created_by') or '-'}"
    told = found.get("reason") or ""
    return "  ".join(filter(None, [began, found["id"], found["phase"], versions, who, told]))


def entry_line(entry: dict[str, Any]) -> str:
    """One entry of the journal. Where the phase stayed, what it waits for is the news."""
    data = entry.get("data") or {}
    told = data.get("reason") or data.get("why") or ""
    moved = ""
    if data.get("from") != data.get("to"):
        moved = f" {data['from']} → {data['to']}"
    elif data.get("event") == "observed" and data.get("waiting_for"):
        told = f"at {percent(data.get('candidate_bp', 0))}, waits for {data['waiting_for']}"
    line = f"{entry['at']}  {entry['actor']}  {data.get('event', entry['kind'])}{moved}  {told}"
    return line.rstrip()


def verification_line(found: dict[str, Any]) -> str:
    """How the candidate's verification stands, in one line; empty when nothing is known of it."""
    if found.get("status") == "running":
        return "verification is running"
    if found.get("waived"):
        return f"verification waived by {found['waived']}"
    if found.get("result") is None:
        return ""
    gates = found.get("gates") or []
    for gate in gates:
        if gate["result"] == "fail":
            where = ", ".join(filter(None, [gate.get("class"), gate.get("stage")]))
            shown = f" ({where})" if where else ""
            return f"verification failed at {gate['name']}{shown}: {gate.get('detail') or ''}"
    passed = sum(gate["result"] == "pass" for gate in gates)
    return (
        f"verification passed: {passed} of {len(gates)} gates, {found.get('rows', 0)} golden rows"
    )
