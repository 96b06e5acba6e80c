"""The one loop of a replica: read all that has queued, answer one batch, write, again.

One thread does both the sockets and the model. No timer and no waiting for more requests: an idle
replica answers at once, a busy one takes what has come meanwhile. It must never wait for a peer.
Questions that are no requests come after them: while requests queue, they wait for up to a second.
"""

import contextlib
import logging
import os
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from serinus.replica.connection import Connection
from serinus.replica.pace import Pace
from serinus.replica.protocol import (
    Frame,
    FrameError,
    Hello,
    Kind,
    encode,
    encode_all,
    encode_hello,
)
from serinus.replica.scorer import Request, given_up

__all__ = ["Answerer", "Loop"]

_log = logging.getLogger(__name__)
_BUFFER = 256 * 1024
#: A drain is over when nothing has come for this long.
_SILENCE_S = 0.2
#: A question waits this long for a moment without requests, and this long for an answer in work.
_ASIDE_S, _ASIDE_PAUSE_S = 1.0, 0.02

_NO_BOUND = float("inf")
#: To ask an enumeration for its member costs more than to compare with it.
_REQUEST = Kind.REQUEST
#: What an unusually long turn still counts for at the next one.
_FADES = 0.9

Aside = Callable[[Frame], Frame | None]


class Answerer(Protocol):
    """What the loop asks for answers; `Scorer` in life."""

    def answer(self, requests: Sequence[Request]) -> list[Frame]:
        """One RESPONSE for each request, in the same order."""
        ...


class Loop:
    """Serves peers of one listening socket until it is told to drain."""

    def __init__(
        self,
        listener: socket.socket,
        answerer: Answerer,
        hello: Hello,
        *,
        max_batch: int,
        drain_s: float,
        asides: Mapping[Kind, Aside] | None = None,
        chore: Callable[[], bool] = lambda: False,
        pace: Pace | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """``asides`` answer other kinds of frames; one that says None is asked again later.

        ``chore`` is done when no request waits; one that says True is to be done again.
        Without a ``pace`` it takes all that has queued, as far as ``max_batch``.
        """
        listener.setblocking(False)
        self._listener = listener
        self._answerer = answerer
        self._hello = encode_hello(hello)
        self._max_batch = max(max_batch, 1)
        self._pace = pace
        self._drain_s = drain_s
        self._asides = dict(asides or {})
        self._questions: deque[tuple[Connection, Frame, float]] = deque()
        self._question_pause = False
        self._chore = chore
        self._more_chores = False
        self._clock = clock
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        #: Given up for a moment when the model has taken all other file descriptors.
        self._spare = os.open(os.devnull, os.O_RDONLY)
        self._peers: set[Connection] = set()
        self._queue: deque[Request] = deque()
        #: Whether some that queue may be of a peer that is gone.
        self._vanished = False
        #: What the longest of the last turns took; a little less with each that took less.
        self._turn_s = 0.0
        self._buffer = memoryview(bytearray(_BUFFER))
        self._draining_since: float | None = None
        self._drain_wanted = False
        self._on_drain: Callable[[], None] = lambda: None

    def drain(self) -> None:
        """End in good order. May be called from any thread and from a signal handler."""
        self._drain_wanted = True
        self.wake()

    def wake(self) -> None:
        """Look whether there is something to do. May be called as `drain` may."""
        try:
            os.write(self._wake_write, b"\0")
        except OSError:
            return  # full of earlier calls, so it wakes all the same; or closed, so it has ended

    def run(self, on_drain: Callable[[], None] = lambda: None) -> None:
        """Serve; returns when drained. ``on_drain`` is called once, when the drain begins."""
        self._on_drain = on_drain
        heard = self._clock()
        try:
            while True:
                if self._drain_wanted and self._draining_since is None:
                    self._begin_drain()
                    heard = self._clock()
                came = self._select()
                if self._queue:
                    self._answer_some()
                    came = True
                if self._questions:
                    self._answer_aside()
                if self._draining_since is None:
                    self._more_chores = not self._queue and self._chore()
                    continue
                now = self._clock()
                heard = now if came else heard
                if self._drained(now, heard):
                    return
        finally:
            for peer in tuple(self._peers):
                self._drop(peer)
            self._selector.close()
            self._listener.close()
            os.close(self._wake_read)
            os.close(self._wake_write)
            os.close(self._spare)

    def _drained(self, now: float, heard: float) -> bool:
        assert self._draining_since is not None  # noqa: S101 - for the type checker
        if now - self._draining_since > self._drain_s:
            _log.warning("action=drain_cut_short waiting=%d", len(self._queue))
            return True
        unsent = any(peer.unsent for peer in self._peers)
        return not self._queue and not unsent and now - heard >= _SILENCE_S

    def _select(self) -> bool:
        """Read and write what can be; True when something came from a peer."""
        if self._queue or self._more_chores or (self._questions and not self._question_pause):
            timeout: float | None = 0.0
        elif self._questions:
            timeout = _ASIDE_PAUSE_S
        else:
            timeout = None if self._draining_since is None else _SILENCE_S / 4
        came = False
        for key, events in self._selector.select(timeout):
            peer = key.data
            if peer is not None:
                if events & selectors.EVENT_READ:
                    came = True
                    self._receive(peer)
                if events & selectors.EVENT_WRITE and not peer.closed:
                    self._flush(peer)
            elif key.fileobj is self._listener:
                self._accept()
            else:
                os.read(self._wake_read, 4096)
        return came

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionError):
                return
            except OSError as error:  # out of file descriptors: those that are here go on
                _log.warning("action=accept_failed error=%s", error)
                self._turn_away()
                return
            peer = Connection(sock)
            self._peers.add(peer)
            self._selector.register(sock, selectors.EVENT_READ, peer)
            self._send(peer, self._hello)

    def _turn_away(self) -> None:
        """Hang up on who waits, who would else keep this loop awake; it will come again."""
        os.close(self._spare)
        with contextlib.suppress(OSError):
            self._listener.accept()[0].close()
        self._spare = os.open(os.devnull, os.O_RDONLY)

    def _receive(self, peer: Connection) -> None:
        try:
            frames = peer.receive(self._buffer)
        except (OSError, FrameError) as error:
            _log.debug("action=peer_gone reason=%s", error)
            self._drop(peer)
            return
        now = self._clock()
        pongs = []
        queue = self._queue
        for frame in frames:
            if frame.kind is _REQUEST:
                queue.append(Request(frame, now, peer))
            elif frame.kind is Kind.PING:
                pongs.append(encode(Frame(Kind.PONG, frame.id)))
            elif frame.kind in self._asides:
                self._questions.append((peer, frame, now))
            else:
                _log.warning("action=peer_dropped reason=a peer sent %s", frame.kind.name)
                self._drop(peer)
                return
        if pongs:
            self._send(peer, b"".join(pongs))

    def _answer_some(self) -> None:
        batch, size = self._take()
        if not batch:
            return
        began = self._clock()
        answers = self._answerer.answer(batch)
        took = self._clock() - began
        self._turn_s = max(took, self._turn_s * _FADES)
        if self._pace is not None:
            self._pace.note(size, took)
        if len(self._peers) == 1:
            self._send(batch[0].peer, _all_encoded(answers))
            return
        outgoing: dict[Connection, list[Frame]] = {}
        for request, answer in zip(batch, answers, strict=True):
            outgoing.setdefault(request.peer, []).append(answer)
        for peer, some in outgoing.items():
            self._send(peer, _all_encoded(some))

    def _take(self) -> tuple[list[Request], int]:
        """What of the queue is answered next, and the bytes of it."""
        queue, most, room = self._queue, self._max_batch, _NO_BOUND
        now = self._clock()
        while queue and self._too_late(queue[0], now):
            request = queue.popleft()
            self._send(request.peer, _encoded(given_up(request.frame)))
        waiting = len(queue)
        if self._pace is not None and waiting > 1:
            left_ms = queue[0].frame.aux
            most, room = self._pace.room(left_ms / 1000 if left_ms else _NO_BOUND)
        if waiting <= most and not self._vanished:
            batch = list(queue)
            size = sum([len(request.frame.body) for request in batch])
            if size <= room or waiting == 1:
                queue.clear()
                return batch, size
        return self._take_some(most, room)

    def _take_some(self, most: int, room: float) -> tuple[list[Request], int]:
        """The first of the queue, whose peers are here: so many, and so many bytes of them."""
        batch: list[Request] = []
        queue, size = self._queue, 0
        while queue and len(batch) < most:
            if batch and size + len(queue[0].frame.body) > room:
                break
            request = queue.popleft()
            if not request.peer.closed:  # nobody waits for what a vanished peer asked
                batch.append(request)
                size += len(request.frame.body)
        self._vanished = self._vanished and bool(queue)
        return batch, size

    def _too_late(self, request: Request, now: float) -> bool:
        """Whether its caller will be gone before it is answered, so that no model need work on it.

        Without this a queue longer than the deadline would never be answered in time again, however
        long ago the crowd went. Who has waited less than half of its time gets a turn in any case.
        """
        limit_s = request.frame.aux / 1000
        return 0.0 < limit_s < now - request.received + min(self._turn_s, limit_s / 2)

    def _answer_aside(self) -> None:
        """One question, when no request waits or when it has waited long enough."""
        peer, question, since = self._questions[0]
        if self._queue and self._clock() - since < _ASIDE_S:
            return
        self._questions.popleft()
        self._question_pause = False
        if peer.closed:
            return
        answer = self._asides[question.kind](question)
        if answer is None:
            self._question_pause = True
            self._questions.append((peer, question, self._clock()))
        else:
            self._send(peer, _encoded(answer))

    def _begin_drain(self) -> None:
        self._draining_since = self._clock()
        self._on_drain()
        self._selector.unregister(self._listener)
        self._accept()  # those who had connected already are told too
        self._listener.close()
        notice = encode(Frame(Kind.DRAINING))
        for peer in tuple(self._peers):
            self._send(peer, notice)

    def _send(self, peer: Connection, data: bytes) -> None:
        if peer.closed:
            return
        try:
            peer.send(data)
        except OSError as error:
            _log.debug("action=peer_gone reason=%s", error)
            self._drop(peer)
            return
        if peer.unsent:
            self._watch(peer)

    def _flush(self, peer: Connection) -> None:
        try:
            peer.flush()
        except OSError as error:
            _log.debug("action=peer_gone reason=%s", error)
            self._drop(peer)
            return
        self._watch(peer)

    def _watch(self, peer: Connection) -> None:
        events = selectors.EVENT_WRITE if peer.unsent else 0
        if not peer.full:
            events |= selectors.EVENT_READ
        self._selector.modify(peer.sock, events, peer)

    def _drop(self, peer: Connection) -> None:
        if peer.closed:
            return
        self._peers.discard(peer)
        self._vanished = True
        self._selector.unregister(peer.sock)
        peer.close()


def _all_encoded(answers: Sequence[Frame]) -> bytes:
    try:
        return encode_all(answers)
    except FrameError:
        return b"".join(map(_encoded, answers))


def _encoded(answer: Frame) -> bytes:
    try:
        return encode(answer)
    except FrameError as error:
        content = (
            b'{"error_code":"INTERNAL_ERROR","message":"The answer is too large to send: %s."}'
        )
        return encode(
            Frame(
                answer.kind,
                answer.id,
                content % str(error).encode(),
                format=answer.format,
                status=500,
                aux=answer.aux,
                batch=answer.batch,
            )
        )
