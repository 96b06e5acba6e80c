"""A replica without a model: speaks the frames, answers as it is told."""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from serinus.replica.protocol import (
    PROTOCOL_VERSION,
    Decoder,
    Format,
    Frame,
    Hello,
    Kind,
    encode,
    encode_hello,
)
from serinus.traffic import ReplicaAddress

Answer = Callable[[Frame], Frame | None]


def echo(frame: Frame) -> Frame:
    """The body comes back."""
    return Frame(Kind.RESPONSE, frame.id, frame.body, format=Format.JSON, status=200)


class StandIn:
    """Listens on ``directory/<replica_id>``; an answer of None is no answer at all."""

    def __init__(self, directory: Path, replica_id: str, answer: Answer = echo) -> None:
        self.address = ReplicaAddress(replica_id, str(directory / replica_id), "d" * 64)
        self.hello = Hello(PROTOCOL_VERSION, replica_id, "d" * 64, os.getpid())
        self.answer = answer
        self.received: list[Frame] = []
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()

    async def start(self) -> "StandIn":
        self._server = await asyncio.start_unix_server(self._serve, self.address.address)
        return self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving = asyncio.current_task()
        if serving is not None:
            self._serving.add(serving)
        self._writers.append(writer)
        writer.write(encode_hello(self.hello))
        decoder = Decoder()
        with suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                for frame in decoder.feed(data):
                    self.received.append(frame)
                    answer = self.answer(frame)
                    if answer is not None:
                        writer.write(encode(answer))
        writer.close()

    def send(self, frame: Frame) -> None:
        """Say something unasked, on every connection."""
        for writer in self._writers:
            writer.write(encode(frame))

    def pause(self) -> None:
        """Read nothing more, as a hung process does."""
        for writer in self._writers:
            writer.transport.pause_reading()  # type: ignore[attr-defined]

    def die(self) -> None:
        """End as a killed process does: every connection breaks, nobody listens."""
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def gone(self) -> None:
        """Wait until nothing of it is left."""
        self.die()
        if self._server is not None:
            await self._server.wait_closed()
        if self._serving:
            await asyncio.wait(self._serving, timeout=5)
