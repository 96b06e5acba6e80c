"""Passes control requests on to the controller's unix socket. Predictions never need it."""

from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

import httpx

from serinus.errors import TemporarilyUnavailable

__all__ = ["Forwarder", "disconnected", "pump"]

_Message = MutableMapping[str, Any]

# Hop-by-hop headers (RFC 9110 §7.6.1) belong to one connection and are not passed on.
_HOP = frozenset(
    {b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade"}
    | {b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"expect"}
)


class Forwarder:
    """An HTTP client to the controller that streams both ways."""

    def __init__(self, socket_path: str, timeout_s: float = 60.0) -> None:
        self._client = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=socket_path),
            base_url="http://controller",
            # An event stream is silent for as long as nothing happens, so reading has no timeout.
            timeout=httpx.Timeout(timeout_s, read=None, connect=2.0),
            trust_env=False,
        )

    async def open(
        self,
        method: str,
        target: bytes,
        headers: list[tuple[bytes, bytes]],
        body: AsyncIterator[bytes] | bytes,
    ) -> httpx.Response:
        """The controller's response, its body not read yet.

        ``target`` is the raw path and query. Raises TemporarilyUnavailable while the controller
        is away; the caller must close the response.
        """
        request = self._client.build_request(
            method,
            httpx.URL("http://controller").copy_with(raw_path=target),
            headers=[(name, value) for name, value in headers if name not in _HOP],
            content=body,
        )
        try:
            return await self._client.send(request, stream=True)
        except httpx.TransportError as error:
            raise TemporarilyUnavailable(
                "The controller is away; endpoints keep answering. Try again in a moment.",
                retry_after=1,
            ) from error

    @staticmethod
    def headers(response: httpx.Response) -> list[tuple[bytes, bytes]]:
        """The response headers that concern the caller."""
        raw = ((name.lower(), value) for name, value in response.headers.raw)
        return [(name, value) for name, value in raw if name not in _HOP]

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


async def pump(response: httpx.Response, send: Callable[[_Message], Awaitable[None]]) -> None:
    """Send the response's body on, as it comes."""
    async for chunk in response.aiter_raw():
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def disconnected(receive: Callable[[], Awaitable[_Message]]) -> None:
    """Return when the caller has left."""
    while (await receive())["type"] != "http.disconnect":
        continue
