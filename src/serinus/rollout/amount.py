"""Shares and durations as people write them: ``5%``, ``0.05``, ``10m``. Pure."""

import re
from decimal import Decimal, InvalidOperation

from serinus.entities import WHOLE
from serinus.errors import InvalidParameterValue

__all__ = [
    "read_duration",
    "read_fraction",
    "read_share",
    "show_duration",
    "show_fraction",
    "show_percent",
]

_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhd]))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])")
_SECONDS = {
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86_400),
}
#: Ten years.
_LONGEST_S = 3_650 * 86_400


def read_fraction(value: object, path: str) -> float:
    """A fraction ≥ 0 of ``25%`` or ``0.25``; a bare number above 1 could mean either."""
    return float(_fraction(value, path, share=False))


def read_share(value: object, path: str) -> int:
    """Basis points in 0…`WHOLE` of ``1%`` or ``0.01``; finer than 0.01 % is refused."""
    points = _fraction(value, path, share=True) * WHOLE
    if points > WHOLE:
        raise InvalidParameterValue(f"{path} is {value}, which is past 100%; the most is 100%.")
    if points != points.to_integral_value():
        nearest = show_percent(int(points.to_integral_value()))
        raise InvalidParameterValue(
            f"{path} is {value}, finer than a hundredth of a percent; the nearest is {nearest}."
        )
    return int(points)


def read_duration(value: object, path: str) -> float:
    """Seconds of ``90s``, ``10m``, ``1h30m``, ``250ms`` or ``2d``; a bare 0 is no time at all."""
    if value == 0 and not isinstance(value, bool):
        return 0.0
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise InvalidParameterValue(
            f"{path} is {value} without a unit; write {value}s for seconds or {value}m for minutes."
        )
    text = value.replace(" ", "") if isinstance(value, str) else ""
    if not _DURATION.fullmatch(text):
        raise InvalidParameterValue(
            f"{path} is {value!r}, not a duration; write it like 30s, 10m, 2h or 1d."
        )
    seconds = sum(Decimal(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
    if seconds > _LONGEST_S:  # a date that far ahead does not exist
        raise InvalidParameterValue(f"{path} is longer than 3650d, the longest there is.")
    return float(seconds)


def _fraction(value: object, path: str, *, share: bool) -> Decimal:
    if isinstance(value, str):
        text, percent = value.strip().removeprefix("+"), False
        if text.endswith("%"):
            text, percent = text[:-1].strip(), True
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        text, percent = repr(value), False
    else:
        text, percent = "", False
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal(-1)
    if not number.is_finite() or number < 0:
        raise InvalidParameterValue(
            f"{path} is {value!r}, not a share; write it like 5% or 0.05, not below zero."
        )
    if percent:
        return number / 100
    if number > 1 or text == "1":
        other = _plain(number / 100) if share and number > 1 else f"{_plain(number * 100)}%"
        raise InvalidParameterValue(
            f"{path} is {value}, which could be percent or a fraction; write {value}% or {other}."
        )
    return number


def show_percent(basis_points: int) -> str:
    """``25%`` of 2500."""
    return f"{_plain(Decimal(basis_points) / 100)}%"


def show_fraction(fraction: float) -> str:
    """``25%`` of 0.25, exact for whatever `read_fraction` gives back."""
    return f"{_plain(Decimal(repr(fraction)) * 100)}%"


def show_duration(seconds: float) -> str:
    """``10m`` of 600.0: the largest unit that needs no fraction, else seconds."""
    exact = Decimal(repr(seconds))
    for unit in ("d", "h", "m"):
        if exact and exact % _SECONDS[unit] == 0:
            return f"{_plain(exact / _SECONDS[unit])}{unit}"
    return f"{_plain(exact)}s"


def _plain(number: Decimal) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
