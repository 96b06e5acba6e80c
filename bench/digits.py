"""How many digits of a figure are kept: more would be noise, and results are read in diffs."""

from typing import Any

__all__ = ["rounded"]


def rounded(value: Any, digits: int = 5) -> Any:
    """The value with all its floats cut to that many significant digits."""
    if isinstance(value, float):
        return float(f"{value:.{digits}g}")
    if isinstance(value, dict):
        return {name: rounded(item, digits) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item, digits) for item in value]
    return value
