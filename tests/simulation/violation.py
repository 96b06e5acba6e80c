"""What a broken invariant is raised as."""

__all__ = ["Violation", "check"]


class Violation(AssertionError):
    """An invariant does not hold."""


def check(holds: bool, otherwise: str) -> None:
    """Raise Violation unless it holds."""
    if not holds:
        raise Violation(otherwise)
