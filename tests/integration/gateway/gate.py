"""A gateway's front on a real socket, before a stand-in replica, and raw clients to it."""

import asyncio
import json
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from serinus.gateway.app import App, AppConfig
from serinus.gateway.bounds import EdgeLimits
from serinus.gateway.dataplane import DataPlane
from serinus.gateway.door import Door
from serinus.gateway.encoding import Inflation
from serinus.gateway.forward import Forwarder
from serinus.replica.protocol import Frame
from serinus.traffic import EndpointRoutes, RouteTable
from tests.unit.gateway.plane import served
from tests.unit.gateway.stand_in import StandIn, echo

PATH = "/serving-endpoints/e/invocations"


@dataclass
class Reply:
    """One response, as it came."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


class Gate:
    """Runs in a thread of its own until closed."""

    def __init__(
        self,
        limits: EdgeLimits,
        answer: Callable[[Frame], Frame | None] = echo,
        max_bodies: int = 1 << 29,
    ) -> None:
        self.limits = limits
        self.max_bodies = max_bodies
        self.answer = answer
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self._up = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._up.wait(30)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        with tempfile.TemporaryDirectory() as directory:
            self.replica = await StandIn(Path(directory), "r", self.answer).start()
            self.plane = DataPlane(lambda: 0.5, lambda *_: None, dial_s=5.0)
            table = RouteTable(1, (EndpointRoutes("e", (served("v1", 10_000, self.replica),)),))
            await self.plane.apply(table)
            forwarder = Forwarder(f"{directory}/nobody.sock")
            config = AppConfig(
                self.limits.max_body, "t", "3.0", "1", Inflation(1 << 21, 100), "", self.max_bodies
            )
            self.app = App(self.plane, forwarder, config)
            self.door = Door(self.app, self.limits)
            await self.door.open(self.listener)
            self._up.set()
            await self._end.wait()
            self.door.shut()
            await self.door.emptied(1.0)
            self.plane.close()
            await forwarder.close()
            await self.replica.gone()

    def do(self, action: Callable[[], Any]) -> Any:
        """Call something inside the gateway's event loop."""

        async def call() -> Any:
            return action()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(10)

    @property
    def connections(self) -> int:
        return int(self.do(lambda: len(self.door.connections)))

    @property
    def held(self) -> int:
        """Bytes of bodies that are counted at this moment."""
        return int(self.do(lambda: self.app.room.held))

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(30)

    def dial(self) -> "Caller":
        return Caller(self.port)


class Caller:
    """A client that sends whatever it is told to."""

    def __init__(self, port: int, *, receive_buffer: int = 0) -> None:
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(20)
        self.socket.connect(("127.0.0.1", port))
        self._read = self.socket.makefile("rb")

    def __enter__(self) -> "Caller":
        return self

    def __exit__(self, *_: object) -> None:
        self._read.close()
        self.socket.close()

    def send(self, data: bytes | str) -> "Caller":
        raw = data.encode("latin-1") if isinstance(data, str) else data
        # Refused while we were sending: the answer is what counts.
        with suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(raw)
        return self

    def ask(self, body: bytes = b"{}", path: str = PATH, **headers: str) -> Reply:
        self.send(request(body, path, **headers))
        reply = self.reply()
        assert reply is not None
        return reply

    def reply(self) -> Reply | None:
        """The next response; None at the end of the connection."""
        try:
            line = self._read.readline()
            if not line:
                return None
            headers = {}
            for each in iter(self._read.readline, b"\r\n"):
                name, _, value = each.decode("latin-1").strip().partition(": ")
                headers[name] = value
            body = self._read.read(int(headers["content-length"]))
        except ConnectionResetError:
            return None
        return Reply(int(line.split()[1]), headers, body)

    def replies(self) -> list[Reply]:
        """All responses up to the end of the connection."""
        return list(iter(self.reply, None))


def request(body: bytes = b"{}", path: str = PATH, **headers: str) -> bytes:
    given = {"host": "h", "content-type": "application/json", "content-length": str(len(body))}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items() if value)
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + body


@contextmanager
def gate(
    answer: Callable[[Frame], Frame | None] = echo, max_bodies: int = 1 << 29, **limits: Any
) -> Iterator[Gate]:
    opened = Gate(EdgeLimits(**limits), answer, max_bodies)
    try:
        yield opened
    finally:
        opened.close()


def within(seconds: float, true: Callable[[], bool]) -> bool:
    """Whether it comes true in time."""
    give_up_at = time.monotonic() + seconds
    while not true():
        if time.monotonic() > give_up_at:
            return False
        time.sleep(0.01)
    return True
