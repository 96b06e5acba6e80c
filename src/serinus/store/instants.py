"""Aware datetimes as UTC epoch milliseconds and back. It never reads a clock."""

from datetime import UTC, datetime, timedelta

__all__ = ["from_millis", "to_millis"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def to_millis(at: datetime) -> int:
    """Whole milliseconds since 1970; raises ValueError for a datetime without a zone."""
    if at.tzinfo is None:
        raise ValueError(f"{at!r} has no time zone")
    # In integers throughout: a float of seconds is off by one millisecond now and then.
    return (at - _EPOCH) // _MILLISECOND


def from_millis(millis: int) -> datetime:
    """The aware UTC datetime."""
    return _EPOCH + millis * _MILLISECOND
