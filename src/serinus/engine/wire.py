"""A verification's line to one replica: frames over its unix socket, one thread, plain waiting.

It speaks only after it has checked who answers. It must never be used on an event loop.
"""

import socket
from collections.abc import Sequence
from types import TracebackType

from serinus.parity.wire import Answer, Inspection, Request, Running, WireLost
from serinus.replica.protocol import (
    PROTOCOL_VERSION,
    Decoder,
    Frame,
    FrameError,
    Kind,
    decode_hello,
    encode,
)
from serinus.replica.question import (
    ask_running,
    ask_stages,
    complaint,
    format_of,
    inspection_of,
    running_of,
)

__all__ = ["SocketWire", "connect"]

#: Requests in flight at once.
_WINDOW = 64


def connect(address: str, model_digest: str, *, timeout_s: float = 60.0) -> "SocketWire":
    """A line to the replica at a socket path (`ReplicaStatus.address`).

    ``model_digest`` is the digest that it must present; ``timeout_s`` is how long one answer may
    take. Raises WireLost.
    """
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    line.settimeout(timeout_s)
    try:
        line.connect(address)
        wire = SocketWire(line)
        hello = decode_hello(wire.next())
    except (OSError, FrameError) as error:
        line.close()
        raise WireLost(f"The replica at {address} can't be reached: {error}.") from error
    except WireLost:
        line.close()
        raise
    if hello.model_digest != model_digest or hello.protocol != PROTOCOL_VERSION:
        line.close()
        raise WireLost(
            f"The replica at {address} serves the model {hello.model_digest[:12]}… and speaks "
            f"version {hello.protocol}; {model_digest[:12]}… and {PROTOCOL_VERSION} were expected."
        )
    return wire


class SocketWire:
    """See `serinus.parity.wire.Wire`; also a context manager that closes the line."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._decoder = Decoder()
        self._frames: list[Frame] = []
        self._id = 0

    def running(self) -> Running:
        """See `Wire.running`."""
        answer = self._exchange([ask_running(self._next_id())])[0]
        return running_of(self._good(answer))

    def ask(self, request: Request) -> Answer:
        """See `Wire.ask`."""
        return self.ask_many([request])[0]

    def ask_many(self, requests: Sequence[Request]) -> list[Answer]:
        """See `Wire.ask_many`."""
        found: list[Answer] = []
        for at in range(0, len(requests), _WINDOW):
            frames = [
                Frame(Kind.REQUEST, self._next_id(), body, format=format_of(type_))
                for body, type_ in requests[at : at + _WINDOW]
            ]
            found += [Answer(each.status, each.body) for each in self._exchange(frames)]
        return found

    def inspect(self, requests: Sequence[Request]) -> Inspection:
        """See `Wire.inspect`."""
        answer = self._exchange([ask_stages(self._next_id(), requests)])[0]
        return inspection_of(self._good(answer))

    def close(self) -> None:
        """Hang up."""
        self._line.close()

    def __enter__(self) -> "SocketWire":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def next(self) -> Frame:
        """The next frame that comes; raises WireLost, FrameError or OSError."""
        while not self._frames:
            data = self._line.recv(1 << 18)
            if not data:
                raise WireLost("The replica hung up; its log may say why.")
            self._frames += self._decoder.feed(data)
        return self._frames.pop(0)

    def _next_id(self) -> int:
        self._id += 1
        return self._id

    def _exchange(self, frames: Sequence[Frame]) -> list[Frame]:
        """Send all of them and wait for all answers; those come in the order of the questions."""
        found: dict[int, Frame] = {}
        try:
            self._line.sendall(b"".join(map(encode, frames)))
            while len(found) < len(frames):
                frame = self.next()
                if frame.kind is Kind.DRAINING:
                    raise WireLost("The replica is about to end; somebody asked it to.")
                found[frame.id] = frame
        except TimeoutError as error:
            raise WireLost(
                f"The replica gave no answer for {self._line.gettimeout():g} s."
            ) from error
        except (OSError, FrameError) as error:
            raise WireLost(f"The line to the replica broke: {error}.") from error
        return [found[frame.id] for frame in frames]

    @staticmethod
    def _good(answer: Frame) -> Frame:
        if answer.status != 200:
            raise WireLost(f"The replica could not say: {complaint(answer)}")
        return answer
