"""What goes back to a caller: predictions, a few fixed pages, and errors, as ASGI sends them."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

from serinus.errors import PayloadTooLarge, SerinusError, Unauthenticated
from serinus.gateway import oip
from serinus.gateway.cache import how_it_came
from serinus.gateway.exchange import WHOLE
from serinus.gateway.room import NoRoom
from serinus.replica.protocol import Frame

__all__ = ["JSON", "TEXT", "send_answer", "send_error", "send_page"]

Header = tuple[bytes, bytes]
Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

JSON = (b"content-type", b"application/json")
TEXT = (b"content-type", b"text/plain; charset=utf-8")
_CLOSE = (b"connection", b"close")
_RETRY = (b"retry-after", b"1")
_ASK = (b"www-authenticate", b'Bearer realm="serinus"')
#: A replica that is a remote endpoint answers so when that endpoint does.
_LATER = frozenset({429, 503})
#: The commonest answer's head in one piece: to put one together takes longer than to send it.
_HEAD = (
    b"HTTP/1.1 200 OK\r\n"
    b"content-type: application/json\r\n"
    b"content-length: %d\r\n"
    b"served-model-name: %b\r\n"
    b"x-request-id: %b\r\n"
)


async def send_answer(
    scope: Scope, send: Send, frame: Frame, served: bytes, request_id: Header
) -> None:
    """What the replica said; ``served`` names who that was."""
    body, meta = frame.body, frame.meta
    if frame.status == 200 and not meta and WHOLE in scope.get("extensions", ()):
        head = _HEAD % (len(body), served, request_id[1])
        await send({"type": WHOLE, "head": head, "body": body})
        return
    headers = [JSON, (b"served-model-name", served), request_id]
    if meta:
        headers += how_it_came(frame)
    if frame.status in _LATER:
        headers.append(_RETRY)
    await send_page(send, frame.status, body, *headers)


async def send_page(send: Send, status: int, body: bytes, *headers: Header) -> None:
    """All of a body."""
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})


async def send_error(send: Send, error: SerinusError, request_id: Header, path: str) -> None:
    """The error in the form that clients of that path read."""
    body = {"error_code": error.code, "message": error.message, "details": error.details}
    content = msgspec.json.encode(body) if path[:3] != "/v2" else oip.error_body(error)
    headers = [JSON, request_id]
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % error.retry_after))
    if isinstance(error, Unauthenticated):
        headers.append(_ASK)
    if isinstance(error, PayloadTooLarge | NoRoom):
        headers.append(_CLOSE)  # the rest of the body may be on its way and nobody will read it
    await send_page(send, error.status, content, *headers)
