"""W3C trace context as a gateway takes it: checked, and made small enough to pass on.

What is not well formed is left out, as the standard asks; it is never a reason to refuse a request.
"""

import re
from collections.abc import Iterable

from serinus.replica.protocol import SEPARATOR

__all__ = ["carried", "trace_id_of"]

Headers = Iterable[tuple[bytes, bytes]]

_PARENT = re.compile(
    rb"(?!ff)([0-9a-f]{2})-((?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2})(-.*)?"
)
_STATE = re.compile(rb"[\x20-\x7e]{1,512}")


def carried(headers: Headers) -> bytes:
    """``traceparent``, and after a `SEPARATOR` the ``tracestate`` if any; empty without a trace.

    Two parents are none. A later version of the standard is passed on as the one that is known.
    """
    parents: list[bytes] = []
    states: list[bytes] = []
    for name, value in headers:
        if name == b"traceparent":
            parents.append(value.strip())
        elif name == b"tracestate":
            states.append(value.strip())
    match = _PARENT.fullmatch(parents[0]) if len(parents) == 1 else None
    if match is None or (match[3] and match[1] == b"00"):
        return b""
    parent, state = b"00-" + match[2], b",".join(filter(None, states))
    return parent + SEPARATOR + state if _STATE.fullmatch(state) else parent


def trace_id_of(headers: Headers) -> str:
    """32 hexadecimal digits; empty outside of a trace."""
    return carried(headers)[3:35].decode()
