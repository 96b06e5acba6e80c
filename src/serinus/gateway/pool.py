"""Connections to replicas and the choice between those of one served entity.

Identity decides who answers: no frame is sent before the replica's HELLO has matched the
RouteTable. A pool never reaches a replica of another served entity.
"""

import asyncio
import time
from collections.abc import Callable
from enum import Enum
from typing import cast

from serinus.errors import DeadlineExceeded, ResourceExhausted, TemporarilyUnavailable
from serinus.evidence.meter import Meter
from serinus.gateway.deadlines import Deadlines
from serinus.gateway.quarantine import Quarantine
from serinus.replica.protocol import (
    PROTOCOL_VERSION,
    Decoder,
    Format,
    Frame,
    FrameError,
    Kind,
    decode_hello,
    request_head,
)
from serinus.traffic import ReplicaAddress, ServedRoute

__all__ = ["Cause", "LinkState", "NoAnswer", "NoReplica", "Pool", "ReplicaGone", "ReplicaLink"]

#: What made requests fail together: those with an equal cause are one accident.
Cause = tuple[str, str, int]

#: A body of so many bytes is not copied once more to travel in one piece with what is before it.
_COPIED = 64 * 1024
_REDIAL_S = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


class ReplicaGone(Exception):
    """The connection to the replica broke before its answer came."""

    def __init__(self, replica_id: str, suspects: int) -> None:
        super().__init__(replica_id)
        #: How many of the requests in flight had been so at another death.
        self.suspects = suspects


class NoReplica(TemporarilyUnavailable):
    """No replica of the served entity can answer."""

    def __init__(self, message: str, cause: Cause, *, died: bool) -> None:
        super().__init__(message, retry_after=1)
        self.cause = cause
        #: True when a replica ended under this request, False when none was there for it.
        self.died = died


class NoAnswer(DeadlineExceeded):
    """The model gave no answer within the deadline."""

    def __init__(self, cause: Cause) -> None:
        super().__init__()
        self.cause = cause


class LinkState(Enum):
    """The life of one connection."""

    DIALLING = "DIALLING"
    READY = "READY"
    DRAINING = "DRAINING"  # the replica asked for no more requests; answers still come
    CLOSED = "CLOSED"


#: Looking a member up in its class costs more than the rest of a choice.
_READY = LinkState.READY


class ReplicaLink(asyncio.Protocol):
    """One connection to one replica, redialled until `retire` is called."""

    def __init__(
        self,
        address: ReplicaAddress,
        on_reject: Callable[[str, str], None],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """``clock`` is the one that requests are timed by."""
        self.address = address
        #: When it last presented itself; a replica that has just joined may still be cold.
        self.joined_at = float("-inf")
        self._clock = clock
        self.state = LinkState.DIALLING
        self.ready = asyncio.Event()
        #: Rises from link to link of a pool: who was picked longest ago has the least.
        self.picked = 0
        #: Requests in flight that were so when another replica died.
        self.suspects = 0
        #: Answers that have come, late ones included.
        self.answers = 0
        #: When the connection broke last, by the loop's clock; 0.0: never.
        self.lost_at = 0.0
        self._on_reject = on_reject
        #: Requests sent and not yet answered.
        self.calls: dict[int, asyncio.Future[Frame]] = {}
        self._deadlines = Deadlines(self._expire)
        self._next_id = 0
        self._decoder = Decoder()
        self._transport: asyncio.Transport | None = None
        self._greeted = False
        self._retired = False
        self._dialling: asyncio.Task[None] | None = None
        self.dial()

    @property
    def unsent(self) -> int:
        """Bytes of requests that the replica has not taken yet."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def dial(self) -> None:
        """Connect, and keep trying."""
        if not self._retired:
            self._dialling = asyncio.get_running_loop().create_task(self._dial())

    async def _dial(self) -> None:
        loop = asyncio.get_running_loop()
        attempt = 0
        while not self._retired:
            try:
                await loop.create_unix_connection(lambda: self, self.address.address)
            except OSError:
                await asyncio.sleep(_REDIAL_S[min(attempt, len(_REDIAL_S) - 1)])
                attempt += 1
            else:
                return

    async def call(
        self, body: bytes, format_: Format, deadline_s: float, meta: bytes = b""
    ) -> Frame:
        """The RESPONSE to one request; raises ReplicaGone, or NoAnswer after that time."""
        loop = asyncio.get_running_loop()
        self._next_id = id_ = self._next_id + 1
        head = request_head(id_, len(body), meta, format_, int(deadline_s * 1000))
        future: asyncio.Future[Frame] = loop.create_future()
        self.calls[id_] = future
        self._deadlines.add(id_, loop, deadline_s)
        transport = cast(asyncio.Transport, self._transport)
        if len(body) < _COPIED:
            transport.write(head + body)
        else:
            transport.write(head)
            transport.write(body)
        try:
            return await future
        finally:
            self._deadlines.drop(id_)
            self.calls.pop(id_, None)
            if self._retired:
                self._close_if_idle()

    def retire(self) -> None:
        """Take no new request; close once those in flight are answered."""
        self._retired = True
        if self._dialling is not None:
            self._dialling.cancel()
        self._close_if_idle()

    def _close_if_idle(self) -> None:
        if self._retired and not self.calls:
            self._deadlines.stop()
            if self._transport is not None:
                self._transport.close()

    def _expire(self, id_: int) -> None:
        future = self.calls.get(id_)
        if future is not None and not future.done():
            # Whatever times out at one replica between two of its answers waited for one stall.
            future.set_exception(NoAnswer(("stall", self.address.replica_id, self.answers)))

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._decoder = Decoder()
        self._greeted = False

    def data_received(self, data: bytes) -> None:
        try:
            frames = self._decoder.feed(data)
        except FrameError as error:
            self._reject(f"broke the framing: {error}")
            return
        for frame in frames:
            if not self._greeted:
                if not self._greet(frame):
                    return
            elif frame.kind is Kind.RESPONSE:
                self.answers += 1
                # No future: the request gave up at its deadline, and a late answer is nobody's.
                future = self.calls.get(frame.id)
                if future is not None and not future.done():
                    future.set_result(frame)
            elif frame.kind is Kind.DRAINING:
                self.state = LinkState.DRAINING
                self.ready.clear()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._greeted:
            self.lost_at = asyncio.get_running_loop().time()
        self.state = LinkState.CLOSED
        self.ready.clear()
        self._transport = None
        calls, self.calls = self.calls, {}
        for future in calls.values():
            if not future.done():
                future.set_exception(ReplicaGone(self.address.replica_id, self.suspects))
        if not self._retired:
            self.state = LinkState.DIALLING
            # A later turn of the loop: a socket that accepts and hangs up must not spin us.
            asyncio.get_running_loop().call_later(_REDIAL_S[0], self.dial)

    def _greet(self, frame: Frame) -> bool:
        try:
            hello = decode_hello(frame)
        except FrameError as error:
            self._reject(str(error))
            return False
        wanted = (PROTOCOL_VERSION, self.address.replica_id, self.address.model_digest)
        if (hello.protocol, hello.replica_id, hello.model_digest) != wanted:
            self._reject(
                f"presents itself as {hello.replica_id} with model {hello.model_digest[:12]} "
                f"(protocol {hello.protocol})"
            )
            return False
        self._greeted = True
        self.joined_at = self._clock()
        self.state = LinkState.READY
        self.ready.set()
        return True

    def _reject(self, reason: str) -> None:
        self._on_reject(self.address.replica_id, reason)
        if self._transport is not None:
            self._transport.abort()


class Pool:
    """All replicas of one served entity, as one bounded queue."""

    def __init__(
        self,
        route: ServedRoute,
        links: list[ReplicaLink],
        meter: Meter | None = None,
        quarantine: Quarantine | None = None,
    ) -> None:
        self.name = route.name
        self._quarantine = quarantine or Quarantine(route.name, "")
        #: Who sends a request here for a caller counts it there; copies are not counted.
        self.meter = meter or Meter("", route.name)
        #: The name as it goes into the ``served-model-name`` header.
        self.header = (route.shown_as or route.name).encode("ascii")
        #: What its answers depend on besides the request; empty: they are not given again.
        self.edition = route.edition
        self.links = links
        self._picks = max((link.picked for link in links), default=0)
        self._limit = route.queue_limit
        self._deadline_s = route.deadline_s

    async def call(
        self, body: bytes, format_: Format, meta: bytes = b""
    ) -> tuple[ReplicaLink, Frame]:
        """The RESPONSE to one request and the link that it came over.

        Raises ResourceExhausted when the queue is full, NoAnswer when no answer came in time,
        NoReplica when no replica of this served entity can answer, and Quarantined when this body
        has ended replicas before. A request whose replica died is sent once more, to another
        replica of the same entity.
        """
        quarantine = self._quarantine
        now = asyncio.get_running_loop().time()
        give_up_at = now + self._deadline_s
        if quarantine.suspects and quarantine.is_suspect(body, format_, now):
            return await self._alone(body, format_, give_up_at, meta)
        link = self.pick()
        try:
            frame = await link.call(body, format_, self._deadline_s, meta)
        except ReplicaGone:
            # Nothing of an answer was sent when a replica dies, so a sibling may try, once.
            quarantine.suspect(body, format_, asyncio.get_running_loop().time())
            return await self._again(self.pick(excluding=link), body, format_, give_up_at, meta)
        quarantine.answered(body)
        return link, frame

    async def _alone(
        self, body: bytes, format_: Format, give_up_at: float, meta: bytes
    ) -> tuple[ReplicaLink, Frame]:
        """Try what was in flight at a death, while no other such request is tried."""
        alone = self._quarantine.alone
        try:
            async with asyncio.timeout_at(give_up_at):
                await alone.acquire()
        except TimeoutError:
            raise NoAnswer(self._outage()) from None
        try:
            # Whoever was before it may have been the same.
            self._quarantine.is_suspect(body, format_, asyncio.get_running_loop().time())
            return await self._again(self.pick(), body, format_, give_up_at, meta)
        finally:
            alone.release()

    async def _again(
        self, link: ReplicaLink, body: bytes, format_: Format, give_up_at: float, meta: bytes
    ) -> tuple[ReplicaLink, Frame]:
        """Send a suspect; one more death is its last."""
        loop = asyncio.get_running_loop()
        link.suspects += 1
        try:
            frame = await link.call(body, format_, give_up_at - loop.time(), meta)
        except ReplicaGone as gone:
            sole = gone.suspects == 1
            self._quarantine.suspect(body, format_, loop.time(), sole=sole)
            raise NoReplica(
                f"Two replicas of '{self.name}' ended while they worked on this request.",
                self._outage(),
                died=True,
            ) from gone
        finally:
            link.suspects -= 1
        self._quarantine.acquit(body, format_)
        return link, frame

    def ready(self) -> bool:
        """True when at least one replica takes requests."""
        return any(link.state is LinkState.READY for link in self.links)

    @property
    def unsent(self) -> int:
        """Bytes of requests that the replicas have not taken yet."""
        return sum(link.unsent for link in self.links)

    def _outage(self) -> Cause:
        # What fails between two deaths of replicas fails of the first. Every gateway of a machine
        # sees a death in the same second, hence names it alike.
        return "outage", self.name, int(max((link.lost_at for link in self.links), default=0.0))

    def pick(self, excluding: ReplicaLink | None = None) -> ReplicaLink:
        """The ready replica with the least in flight, of equals whose turn is longest ago.

        The queue's bound is checked on the way. Every request runs through here.
        """
        best: ReplicaLink | None = None
        waiting = least = 0
        for link in self.links:
            busy = len(link.calls)
            waiting += busy
            if link.state is not _READY or link is excluding:
                continue
            if best is None or busy < least or (busy == least and link.picked < best.picked):
                best, least = link, busy
        if best is None:
            raise NoReplica(
                f"No replica of '{self.name}' is ready at the moment.",
                self._outage(),
                died=excluding is not None,
            )
        if waiting >= self._limit:
            raise ResourceExhausted(
                f"{waiting} requests are waiting for '{self.name}' already, which is its limit; "
                "try again in a moment.",
                retry_after=1,
            )
        self._picks = best.picked = self._picks + 1
        return best
