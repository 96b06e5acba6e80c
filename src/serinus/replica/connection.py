"""One peer of a replica: bytes in, bytes out, never waiting for it.

It knows frames and the socket, nothing of models.
"""

import socket
from collections import deque

from serinus.replica.protocol import Decoder, Frame

__all__ = ["Connection"]

#: Unsent bytes from which on nothing more is read from a peer that doesn't take its answers.
_FULL = 64 * 1024 * 1024
_READS = 128


class Connection:
    """A non-blocking stream socket with its decoder and its unsent bytes."""

    __slots__ = ("_decoder", "_out", "closed", "sock", "unsent")

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self._decoder = Decoder()
        self._out: deque[memoryview] = deque()
        self.unsent = 0
        self.closed = False

    @property
    def full(self) -> bool:
        """True while too much waits for the peer to read it."""
        return self.unsent > _FULL

    def receive(self, buffer: memoryview) -> list[Frame]:
        """The frames that have come in full.

        Raises ConnectionError when the peer is gone and FrameError when it talks nonsense.
        """
        frames: list[Frame] = []
        size = len(buffer)
        # Bounded, so that a peer which never stops talking leaves the others their turn.
        for _ in range(_READS):
            try:
                count = self.sock.recv_into(buffer)
            except (BlockingIOError, InterruptedError):
                return frames
            if count == 0:
                raise ConnectionError("the peer closed the connection")
            frames += self._decoder.feed(buffer[:count])
            if count < size:
                break
        return frames

    def send(self, data: bytes) -> None:
        """Send what goes at once and keep the rest; raises ConnectionError."""
        if not self._out:
            sent = self._send(data)
            if sent == len(data):
                return
            self._out.append(memoryview(data)[sent:])
            self.unsent = len(data) - sent
        else:
            self._out.append(memoryview(data))
            self.unsent += len(data)

    def flush(self) -> None:
        """Send on from where the socket was full; raises ConnectionError."""
        while self._out:
            head = self._out[0]
            sent = self._send(head)
            self.unsent -= sent
            if sent < len(head):
                self._out[0] = head[sent:]
                return
            self._out.popleft()

    def close(self) -> None:
        """Close the socket and forget what was unsent."""
        self.closed = True
        self._out.clear()
        self.unsent = 0
        self.sock.close()

    def _send(self, data: bytes | memoryview) -> int:
        try:
            return self.sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
