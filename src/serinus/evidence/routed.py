"""How a gateway has divided the requests of an endpoint since its weights are in force. Pure.

Only what the split chose counts: requests that were pinned, copied or chosen by a rollout do not.
"""

from dataclasses import dataclass, field

__all__ = ["Routed"]


@dataclass(slots=True)
class Routed:
    """One endpoint at one gateway, since it began to divide by these weights."""

    endpoint: str
    #: Served name → basis points.
    weights: dict[str, int]
    #: Served name → requests that were sent there.
    chosen: dict[str, int] = field(default_factory=dict)
