"""A gateway's line to the controller: RouteTables come in; acknowledgements and evidence go out.

When the controller is away the gateway serves by the table it has; a restarted gateway by the copy
on disk. Nothing on the request path waits for anything here.
"""

import asyncio
import os
from contextlib import suppress
from pathlib import Path

import msgspec
import structlog

from serinus.evidence.meter import Counts
from serinus.evidence.summary import Flush
from serinus.gateway.dataplane import DataPlane
from serinus.gateway.quarantine import Death
from serinus.replica.protocol import Decoder, Frame, FrameError, Kind, encode
from serinus.traffic import Acknowledge, GatewayHello, RouteTable

__all__ = ["ControlLine", "load_routes", "save_routes"]

_log = structlog.get_logger("serinus.gateway")
_RETRY_S = 0.2
#: Seconds between two looks for evidence that the controller lacks.
_FLUSH_S = 0.2
#: Seconds between two reports of which tokens were used.
_USES_S = 15.0
#: Seconds between two looks at the meters.
_COUNT_S = 1.0


def load_routes(path: Path) -> RouteTable | None:
    """The table kept on disk; None when there is none or it can't be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=RouteTable)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        _log.warning("routes_unreadable", path=str(path), error=str(error))
        return None


def save_routes(path: Path, table: RouteTable) -> None:
    """Keep the table for this gateway's next start; raises OSError."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    # It holds the digests of tokens: nobody else need read it.
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(msgspec.json.encode(table))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


class ControlLine:
    """Keeps a connection to the controller and applies what comes over it."""

    def __init__(
        self,
        dataplane: DataPlane,
        *,
        socket_path: str,
        routes_path: Path,
        gateway_id: str,
        incarnation: str,
    ) -> None:
        self._dataplane = dataplane
        self._socket_path = socket_path
        self._routes_path = routes_path
        self._gateway_id = gateway_id
        self._incarnation = incarnation
        #: When to say next which tokens were used.
        self._uses_due = 0.0
        #: Set when the first table is in force, or the controller is known to be away.
        self._first = asyncio.Event()
        #: The newest table in force that is not on disk yet.
        self._unsaved: RouteTable | None = None
        self._to_save = asyncio.Event()

    async def start(self, patience_s: float) -> None:
        """Return when a table is in force: the controller's, or the one on disk.

        Asking the controller first keeps a gateway that was away from serving by old weights; a
        controller that is away or silent for ``patience_s`` must not keep it from serving at all.
        """
        with suppress(TimeoutError):
            await asyncio.wait_for(self._first.wait(), patience_s)
        if self._dataplane.generation < 0:
            table = await asyncio.to_thread(load_routes, self._routes_path)
            if table is not None:
                await self._dataplane.apply(table)
                _log.info("routes_from_disk", generation=table.generation)

    async def run(self) -> None:
        """Follow the controller until cancelled."""
        saving = asyncio.create_task(self._save())
        try:
            while True:
                with suppress(OSError, FrameError):
                    await self._follow()
                self._first.set()
                await asyncio.sleep(_RETRY_S)
        finally:
            saving.cancel()

    async def _follow(self) -> None:
        reader, writer = await asyncio.open_unix_connection(self._socket_path)
        try:
            hello = GatewayHello(
                self._gateway_id, self._incarnation, os.getpid(), self._dataplane.generation
            )
            writer.write(encode(Frame(Kind.GATEWAY, meta=msgspec.msgpack.encode(hello))))
            self._dataplane.book.forget_acknowledgements()
            reporting = asyncio.create_task(self._report(writer))
            try:
                await self._listen(reader, writer)
            finally:
                reporting.cancel()
        finally:
            writer.close()

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        decoder = Decoder()
        while data := await reader.read(1 << 16):
            frames = decoder.feed(data)
            for frame in frames:
                if frame.kind is Kind.SUMMARY:
                    self._dataplane.book.acknowledged(frame.id)
                elif frame.kind is Kind.DEATHS:
                    self._hear_deaths(frame)
            tables = [frame for frame in frames if frame.kind is Kind.ROUTES]
            if tables:  # of several that queued up only the last one matters
                await self._apply(tables[-1], writer)

    async def _report(self, writer: asyncio.StreamWriter) -> None:
        """Send evidence for as long as the connection lasts."""
        told = 0.0
        while not writer.is_closing():
            # A controller that does not read gets no more: what it lacks is in the next flush too.
            if not writer.transport.get_write_buffer_size():
                flush = self._dataplane.book.flush()
                if flush is not None:
                    body = Flush(self._gateway_id, self._incarnation, *flush)
                    sequence = body.sequence
                    content = msgspec.msgpack.encode(body)
                    writer.write(encode(Frame(Kind.SUMMARY, sequence, content)))
                told = self._count(writer, told)
                self._tell_uses(writer)
                self._tell_deaths(writer)
            await asyncio.sleep(_FLUSH_S)

    def _count(self, writer: asyncio.StreamWriter, told: float) -> float:
        """Send the meters, all of them first; returns when they were sent last (0.0: never)."""
        now = asyncio.get_running_loop().time()
        if now - told < _COUNT_S:
            return told
        meters = self._dataplane.meters
        moved = meters.changed() if told else meters.all()
        if moved or not told:
            routed = self._dataplane.routed()
            counts = Counts(self._gateway_id, self._incarnation, not told, moved, routed)
            writer.write(encode(Frame(Kind.COUNTS, body=msgspec.msgpack.encode(counts))))
        return now

    def _tell_uses(self, writer: asyncio.StreamWriter) -> None:
        """Now and then, which tokens were used; what is lost of it is lost."""
        guard = self._dataplane.guard
        now = asyncio.get_running_loop().time()
        if guard is None or now < self._uses_due:
            return
        self._uses_due = now + _USES_S
        uses = guard.uses()
        if uses:
            writer.write(encode(Frame(Kind.USES, body=msgspec.msgpack.encode(uses))))

    def _tell_deaths(self, writer: asyncio.StreamWriter) -> None:
        """Once; while the controller is away each gateway finds out by itself."""
        deaths = self._dataplane.quarantines.untold()
        if deaths:
            writer.write(encode(Frame(Kind.DEATHS, body=msgspec.msgpack.encode(deaths))))

    def _hear_deaths(self, frame: Frame) -> None:
        try:
            deaths = msgspec.msgpack.decode(frame.body, type=list[Death])
        except msgspec.DecodeError as error:
            raise FrameError(f"unreadable deaths: {error}") from error
        self._dataplane.quarantines.hear(deaths, asyncio.get_running_loop().time())

    async def _apply(self, frame: Frame, writer: asyncio.StreamWriter) -> None:
        try:
            table = msgspec.json.decode(frame.body, type=RouteTable)
        except msgspec.DecodeError as error:
            raise FrameError(f"unreadable RouteTable: {error}") from error
        if not await self._dataplane.apply(table):
            _log.warning(
                "routes_refused", generation=table.generation, in_force=self._dataplane.generation
            )
            return
        self._first.set()
        answer = Acknowledge(table.generation)
        writer.write(encode(Frame(Kind.ACKNOWLEDGE, meta=msgspec.msgpack.encode(answer))))
        self._unsaved = table
        self._to_save.set()

    async def _save(self) -> None:
        """Keep the newest table on disk. The next table must not wait for a slow disk."""
        while True:
            await self._to_save.wait()
            self._to_save.clear()
            if self._unsaved is None:
                continue
            try:
                await asyncio.to_thread(save_routes, self._routes_path, self._unsaved)
            except OSError as error:
                # Serving goes on; only this gateway's next start without a controller would suffer.
                _log.error("routes_not_saved", path=str(self._routes_path), error=str(error))
