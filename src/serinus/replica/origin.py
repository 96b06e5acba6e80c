"""Where a request comes from, as its frame's meta tells: the caller, its id, the trace it is in.

What is not told is empty, never an error; a gateway of before told less.
"""

from typing import NamedTuple

from serinus.replica.protocol import SEPARATOR, Frame

__all__ = ["Origin", "marks", "origin_of"]


class Origin(NamedTuple):
    """Each part as it was sent."""

    caller: bytes = b""
    request_id: bytes = b""
    #: W3C trace context, checked by the gateway.
    traceparent: bytes = b""
    tracestate: bytes = b""

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits; empty outside of a trace."""
        return self.traceparent[3:35].decode("ascii", "replace")


def origin_of(meta: bytes) -> Origin:
    """What the meta of a REQUEST tells."""
    return Origin(*meta.split(SEPARATOR, 3))


def marks(frame: Frame) -> dict[str, str]:
    """What a log line about this request says of it beside its words."""
    origin = origin_of(frame.meta)
    told = {
        "request_id": origin.request_id.decode("utf-8", "replace"),
        "trace_id": origin.trace_id,
    }
    return {name: value for name, value in told.items() if value}
