"""The log lines of a replica: text, or one JSON object a line where the server's log is JSON.

What the model itself prints is not touched.
"""

import logging
from datetime import datetime, timezone

import msgspec

__all__ = ["Lines", "configure_logging"]

#: What a line may say of a request; see `origin.marks`.
_MARKS = ("request_id", "trace_id")


class Lines(logging.Formatter):
    """Writes a record."""

    def __init__(self, *, as_json: bool) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        """One line; as text, a traceback below it."""
        return self._object(record) if self._as_json else super().format(record)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The line itself, and what it says of a request."""
        marks = "".join(f" {name}={value}" for name, value in _marks(record).items())
        return super().formatMessage(record) + marks

    def _object(self, record: logging.LogRecord) -> str:
        # UTC as Python 3.10 calls it.
        at = datetime.fromtimestamp(record.created, timezone.utc)  # noqa: UP017
        told = {
            "event": record.getMessage(),
            "logger": record.name,
            "level": record.levelname.lower(),
            "timestamp": at.isoformat().replace("+00:00", "Z"),
            **_marks(record),
        }
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(told).decode()


def _marks(record: logging.LogRecord) -> dict[str, str]:
    return {name: getattr(record, name) for name in _MARKS if hasattr(record, name)}


def configure_logging(*, as_json: bool) -> None:
    """Send this process's log records to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(Lines(as_json=as_json))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
