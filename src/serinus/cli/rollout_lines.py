"""A rollout in words, from its JSON. It asks nothing and decides nothing."""

from typing import Any

__all__ = ["percent", "stands", "step_of", "verification_line"]


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
