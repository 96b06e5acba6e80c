"""What an endpoint's policy asks of the verification before traffic. Pure."""

from collections.abc import Mapping
from enum import Enum
from typing import Any

__all__ = ["Checks", "checks_in"]


class Checks(Enum):
    """What a failed verification does."""

    #: It blocks: a rollout goes back before any traffic, an update fails.
    REQUIRED = "required"
    #: It is told, and the version goes on.
    WARN = "warn"
    #: Nothing is verified.
    OFF = "off"


def checks_in(policy: Mapping[str, Any] | None) -> Checks:
    """What a stored policy says; an endpoint without one is warned."""
    return Checks((policy or {}).get("verification", Checks.WARN.value))
