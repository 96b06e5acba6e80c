"""Spans of time as calls name them: ``30m``, ``24h``, ``7d``."""

import re
from datetime import timedelta

from serinus.errors import InvalidParameterValue

__all__ = ["window_of"]

_FORM = re.compile(r"(\d{1,6})\s*([mhd])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def window_of(text: str, name: str = "window") -> timedelta:
    """The span; raises InvalidParameterValue, which names the parameter."""
    match = _FORM.fullmatch(text.strip())
    if match is None or not int(match[1]):
        raise InvalidParameterValue(
            f"{name} is {text[:40]!r}; write a number with m, h or d, such as 30m, 24h or 7d."
        )
    return timedelta(**{_UNITS[match[2]]: int(match[1])})
