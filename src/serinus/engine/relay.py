"""The process behind a remote served entity: ``python -m serinus.engine.relay HOSTS REPLICA_DIR``.

To gateways it is a replica; it passes each request on to one URL and never follows a redirect. It
runs in the server's own environment, and never resends what may have been received.
"""

import asyncio
import logging
import os
import ssl
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import cast

import httpx
import msgspec

from serinus.engine.remote import RemoteOptions, check_remote, remote_url
from serinus.errors import (
    BadRequest,
    DeadlineExceeded,
    InternalError,
    InvalidParameterValue,
    ResourceExhausted,
    SerinusError,
    TemporarilyUnavailable,
)
from serinus.replica.answer import error_body
from serinus.replica.launch import Launch, Phase, Status, read_launch, write_status
from serinus.replica.logs import configure_logging
from serinus.replica.origin import marks, origin_of
from serinus.replica.protocol import (
    PROTOCOL_VERSION,
    Decoder,
    Format,
    Frame,
    FrameError,
    Hello,
    Kind,
    encode,
    encode_hello,
)
from serinus.replica.watchdog import Watchdog

__all__ = ["Relay", "Remote", "main"]

_MAX_ANSWER = 64 * 1024 * 1024
#: Characters of what the other side says of an error.
_MAX_SAID = 500
_SILENCE_S = 0.2
_PAUSE_S = 0.1
_TYPES = {
    Format.JSON: "application/json",
    Format.CSV: "text/csv",
    Format.PARQUET: "application/vnd.apache.parquet",
}
#: What remote servers answer when the request itself is at fault.
_CALLERS = frozenset({400, 413, 415, 422})
_log = logging.getLogger("serinus.relay")


class Remote:
    """One URL, asked over kept connections. ``transport`` replaces the network in tests."""

    def __init__(
        self, url: str, options: RemoteOptions, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        """Raises InvalidParameterValue for certificates that can't be read."""
        self.host = httpx.URL(url).netloc.decode("ascii")
        self._url = url
        self._options = options
        try:
            verify = ssl.create_default_context(cafile=options.ca_file or None)
        except OSError as error:
            raise InvalidParameterValue(
                f"REMOTE_CA_FILE {options.ca_file!r} can't be read: {error.strerror or error}."
            ) from error
        self._client = httpx.AsyncClient(
            verify=verify,
            transport=transport,
            follow_redirects=False,
            trust_env=False,
            limits=httpx.Limits(max_connections=256, max_keepalive_connections=64),
        )

    async def ask(self, frame: Frame) -> tuple[int, bytes]:
        """Status and body for one REQUEST, in Serinus' own words where the remote has none."""
        limit = self._options.deadline_s
        if frame.aux:
            limit = min(limit, frame.aux / 1000)
        try:
            async with asyncio.timeout(limit):
                return await self._ask(frame)
        except TimeoutError:
            error: SerinusError = DeadlineExceeded(
                f"The remote endpoint at {self.host} gave no answer within {limit:g} s."
            )
        except SerinusError as found:
            error = found
        return error.status, error_body(error)

    async def close(self) -> None:
        """Close the kept connections."""
        await self._client.aclose()

    async def _ask(self, frame: Frame) -> tuple[int, bytes]:
        headers = {"content-type": _type_of(frame.format), "accept": "application/json"}
        origin = origin_of(frame.meta)
        for name, value in (
            ("x-request-id", origin.request_id),
            ("traceparent", origin.traceparent),
            ("tracestate", origin.tracestate),
        ):
            if value:
                headers[name] = value.decode("latin-1")
        if self._options.token:
            headers["authorization"] = f"Bearer {self._options.token}"
        request = self._client.build_request(
            "POST", self._url, content=frame.body, headers=headers, timeout=None
        )
        for attempt in range(self._options.retries + 1):
            try:
                response = await self._client.send(request, stream=True)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                # Nothing was sent, so that another try can't score a request twice.
                if attempt == self._options.retries:
                    raise self._away(error) from error
                await asyncio.sleep(_PAUSE_S * 2**attempt)
            except httpx.TransportError as error:
                raise self._away(error) from error
            else:
                return await self._read(response)
        raise AssertionError("the last try returns or raises")

    async def _read(self, response: httpx.Response) -> tuple[int, bytes]:
        try:
            parts, size = [], 0
            async for part in response.aiter_bytes():
                size += len(part)
                if size > _MAX_ANSWER:
                    raise InternalError(
                        f"The remote endpoint at {self.host} answered with more than "
                        f"{_MAX_ANSWER} bytes."
                    )
                parts.append(part)
        except httpx.TransportError as error:
            raise self._away(error) from error
        finally:
            await response.aclose()
        body = b"".join(parts)
        if response.status_code == 200:
            if "json" not in response.headers.get("content-type", "json"):
                raise InternalError(
                    f"The remote endpoint at {self.host} answered with "
                    f"{response.headers['content-type'][:80]!r} and not with JSON."
                )
            return 200, body
        said = _said(body)
        if self._options.token:
            # Some say which token they refuse; whoever asks for predictions must not learn it.
            said = said.replace(self._options.token, "***")
        raise self._refusal(response.status_code, said[:_MAX_SAID])

    def _refusal(self, status: int, said: str) -> SerinusError:
        remote = f"The remote endpoint at {self.host}"
        if status in _CALLERS:
            return BadRequest(said or f"{remote} refused the request with {status}.")
        if status == 429:
            return ResourceExhausted(f"{remote} takes no more requests: {said}", retry_after=1)
        if status == 503:
            return TemporarilyUnavailable(f"{remote} is not available: {said}", retry_after=1)
        if status == 504:
            return DeadlineExceeded(f"{remote} met its own deadline: {said}")
        if 300 <= status < 400:
            return InternalError(f"{remote} answered with a redirect, which is not followed.")
        if status in (401, 403):
            return InternalError(f"{remote} refuses our REMOTE_TOKEN with {status}: {said}")
        return InternalError(f"{remote} failed with {status}: {said}")

    def _away(self, error: Exception) -> TemporarilyUnavailable:
        reason = str(error) or type(error).__name__
        return TemporarilyUnavailable(
            f"The remote endpoint at {self.host} can't be reached: {reason}.", retry_after=1
        )


class Relay:
    """Speaks frames with gateways on a unix socket. ``clock`` is monotonic seconds."""

    def __init__(
        self, remote: Remote, hello: Hello, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._remote = remote
        self._hello = encode_hello(hello)
        self._clock = clock
        self._peers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._answered = 0
        self._heard = clock()

    async def peer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until it ends."""
        decoder = Decoder()
        self._peers.add(writer)
        writer.write(self._hello)
        try:
            while data := await reader.read(1 << 18):
                self._heard = self._clock()
                for frame in decoder.feed(data):
                    self._take(frame, writer)
                await writer.drain()
        except (OSError, FrameError) as error:
            _log.debug("action=peer_gone reason=%s", error)
        finally:
            self._peers.discard(writer)
            writer.close()

    async def drain(self, longest_s: float) -> None:
        """Ask for no more requests and wait until those in flight are answered."""
        began = self._clock()
        for writer in self._peers:
            writer.write(encode(Frame(Kind.DRAINING)))
        while self._clock() - began < longest_s:
            if not self._tasks and self._clock() - self._heard > _SILENCE_S:
                return
            await asyncio.sleep(_SILENCE_S / 4)

    def _take(self, frame: Frame, writer: asyncio.StreamWriter) -> None:
        if frame.kind is Kind.REQUEST:
            task = asyncio.create_task(self._answer(frame, writer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif frame.kind is Kind.PING:
            writer.write(encode(Frame(Kind.PONG, frame.id)))
        elif frame.kind in _NOT_HERE:
            kind, what = _NOT_HERE[frame.kind]
            body = error_body(InvalidParameterValue(what))
            writer.write(encode(Frame(kind, frame.id, body, status=501)))
        else:
            raise FrameError(f"a peer sent {frame.kind.name}")

    async def _answer(self, frame: Frame, writer: asyncio.StreamWriter) -> None:
        began = self._clock()
        status, body = await self._remote.ask(frame)
        self._answered += 1
        if status >= 500:
            _log.warning("action=remote_failed status=%d", status, extra=marks(frame))
        answer = Frame(
            Kind.RESPONSE,
            frame.id,
            body,
            format=Format.JSON,
            status=status,
            aux=min(int((self._clock() - began) * 1e6), 2**32 - 1),
            batch=self._answered % 2**32,
        )
        if not writer.is_closing():
            writer.write(encode(answer))


_NOT_HERE = {
    Kind.INSPECT: (Kind.INSPECTION, "A remote endpoint does not show how it computes."),
    Kind.WATCH: (Kind.LIVE, "Live values of a remote endpoint are not counted."),
}


def _type_of(format_: Format) -> str:
    found = _TYPES.get(format_)
    if found is None:
        raise BadRequest("A remote endpoint is asked in MLflow's forms: JSON, CSV or Parquet.")
    return found


def _said(body: bytes) -> str:
    """What the remote says of an error, in whichever shape."""
    text = body.decode("utf-8", "replace")
    try:
        content = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        content = None
    if isinstance(content, dict):
        for name in ("message", "error", "detail"):
            if isinstance(content.get(name), str):
                text = cast(str, content[name])
                break
    return " ".join(text.split())


async def _serve(launch: Launch, remote: Remote) -> None:
    loop = asyncio.get_running_loop()
    ending = asyncio.Event()
    hello = Hello(PROTOCOL_VERSION, launch.replica_id, launch.model_digest, os.getpid())
    relay = Relay(remote, hello)
    server = await asyncio.start_unix_server(relay.peer, launch.socket_path)
    status = Path(launch.status_path)
    for number in (2, 15):  # SIGINT reaches the whole terminal; the supervisor says when to end
        loop.add_signal_handler(number, ending.set if number == 15 else lambda: None)

    def drain() -> None:
        loop.call_soon_threadsafe(ending.set)

    Watchdog(launch, drain).start()
    told = f"A remote endpoint: requests are passed on to {remote.host} one by one."
    write_status(status, Status(Phase.READY, batching=told, pid=os.getpid()))
    await ending.wait()
    server.close()
    write_status(status, Status(Phase.DRAINING, batching=told, pid=os.getpid()))
    await relay.drain(launch.drain_s)
    await remote.close()


def main(directory: Path, hosts: Collection[str]) -> int:
    """Serve what ``launch.json`` in that directory names; returns the exit code.

    ``hosts`` are those that may be called: the files of a model can name any.
    """
    launch = read_launch(directory)
    configure_logging(as_json=launch.log_json)
    status = Path(launch.status_path)
    write_status(status, Status(Phase.LOADING, pid=os.getpid()))
    try:
        url = remote_url(Path(launch.model_path))
        if url is None:
            raise InvalidParameterValue(f"{launch.model_path} names no remote endpoint.")
        remote = Remote(check_remote(url, hosts), RemoteOptions.from_environ(os.environ))
    except (OSError, SerinusError) as error:
        write_status(status, Status(Phase.FAILED, str(error), pid=os.getpid()))
        return 1
    asyncio.run(_serve(launch, remote))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[2]), sys.argv[1].split(",")))
