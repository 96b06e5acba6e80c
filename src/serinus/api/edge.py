"""The outermost layer of the control API: sees every body before it is parsed and every crash.

It must never let a request in whose body is too large or could come from a form on a web page.
"""

from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serinus.api.errors import error_response, unforeseen
from serinus.errors import PayloadTooLarge, SerinusError, UnsupportedMediaType

__all__ = ["BODY_LIMIT", "Edge"]

#: Bytes of a control request; a config of 64 served entities is a few kilobytes.
BODY_LIMIT = 1 << 20


class Edge:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, *, new_id: Callable[[], str], scheme: str) -> None:
        """``scheme``: what callers' URLs begin with; behind the gateway nothing else tells it."""
        self._app = app
        self._new_id = new_id
        self._scheme = scheme

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, whatever happens further in."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope = {**scope, "scheme": self._scheme}
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            body = await _body(scope, receive)
            if body is None:
                return
            await self._app(scope, _replay(body, receive), sending)
        except SerinusError as error:
            await error_response(error)(scope, receive, send)
        except Exception as error:
            response = unforeseen(error, self._new_id(), method=scope["method"], path=scope["path"])
            if started:
                raise
            await response(scope, receive, send)


async def _body(scope: Scope, receive: Receive) -> bytes | None:
    """The whole body; None when the client went away in the middle of it."""
    headers = dict(scope["headers"])
    announced = headers.get(b"content-length", b"0")
    if announced.isdigit() and int(announced) > BODY_LIMIT:
        raise _too_large()
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > BODY_LIMIT:
            raise _too_large()
    media_type = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
    if body and media_type != b"application/json":
        # A page in a browser can post text and forms to this port, but not JSON, without asking.
        raise UnsupportedMediaType(
            "The body must be JSON, sent with the header 'Content-Type: application/json'."
        )
    return bytes(body)


def _too_large() -> PayloadTooLarge:
    return PayloadTooLarge(f"The request body is larger than {BODY_LIMIT} bytes.")


def _replay(body: bytes, receive: Receive) -> Receive:
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return pending.pop() if pending else await receive()

    return replayed
