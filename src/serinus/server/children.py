"""What the supervisor knows of each process that it keeps running."""

from dataclasses import dataclass

__all__ = ["Child"]


@dataclass(slots=True)
class Child:
    """One process that must always run, unless it is being replaced."""

    name: str
    module: str
    pid: int = 0
    started_at: float = 0.0
    failures: int = 0
    #: Monotonic time before which it is not started again.
    not_before: float = 0.0
    ready: bool = False
    #: Monotonic time of its last sign of life.
    heard_at: float = 0.0
    #: Monotonic time since which another one has its place; 0.0: none has.
    retired_at: float = 0.0

    @property
    def speaks(self) -> bool:
        """True for gateways: they hold the socket, and they must go on giving signs of life."""
        return self.name.startswith("gateway")
