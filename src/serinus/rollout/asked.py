"""A verb as somebody asked for it, as an event of the machine. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from serinus.rollout.events import (
    Abort,
    Approve,
    Diagnosed,
    Event,
    Pause,
    Promote,
    Resume,
    Retry,
    Superseded,
)

__all__ = ["event_of"]


def event_of(verb: str, actor: str, at: datetime, data: Mapping[str, Any]) -> Event:
    """The machine's event for a verb of the API; raises ValueError for one that there is not."""
    match verb:
        case "promote":
            return Promote(at, actor, bool(data.get("full")))
        case "pause":
            return Pause(at, actor)
        case "resume":
            return Resume(at, actor)
        case "approve":
            return Approve(at, actor, _waiver(data))
        case "abort":
            return Abort(at, actor, str(data.get("reason", "")))
        case "retry":
            return Retry(at, actor, bool(data.get("fresh_evidence")), _waiver(data))
        case "supersede":
            return Superseded(at, str(data.get("by", "")))
        case "diagnosed":
            return Diagnosed(at, actor, str(data.get("fault", "")))
        case _:
            raise ValueError(f"no verb {verb}")


def _waiver(data: Mapping[str, Any]) -> str:
    return str(data.get("waive_verification", ""))
