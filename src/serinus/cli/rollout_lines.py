"""A rollout in words, from its JSON. It asks nothing and decides nothing."""

from typing import Any

__all__ = ["percent", "stands", "step_of"]


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
