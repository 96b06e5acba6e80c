"""A server that does nothing but answer: what it reaches is the ceiling of the load generator.

It does not parse HTTP and must never be used for anything else.
"""

import asyncio
import sys
from typing import Any

import uvloop

__all__ = ["BODY", "ConstantServer", "serve"]

BODY = b'{"predictions":[1]}'
_ANSWER = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(BODY)
) + BODY


class ConstantServer(asyncio.Protocol):
    """Answers each request head whose body, if any, came with it or is not there."""

    transport: Any

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        # The generator writes a request at once and has one under way: one piece, one request.
        if b"\r\n\r\n" in data:
            self.transport.write(_ANSWER)


async def serve(port: int) -> None:
    """Listen on the loopback until cancelled."""
    server = await asyncio.get_running_loop().create_server(ConstantServer, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
