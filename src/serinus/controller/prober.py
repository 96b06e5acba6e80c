"""Asks every ready replica for a sign of life, so that a hang is told from a long silence.

A replica answers between two batches: no answer for longer than a request may take means that the
requests inside it are lost already. It only notes who hangs; the loop decides.
"""

import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress

from serinus.replica.protocol import Decoder, Frame, FrameError, Kind, encode

__all__ = ["Prober"]

_PING = encode(Frame(Kind.PING, 1))
#: A turn so much later than its time was held up by something that holds up everybody.
_LATE_S = 2.0


class _Probe:
    """One replica's line and the question that is open on it."""

    def __init__(self, address: str, now: float) -> None:
        self._decoder = Decoder()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(1.0)
        self._socket.connect(address)
        self._socket.setblocking(False)
        #: When the unanswered question was asked; the first one is who it is (HELLO).
        self.asked_at: float | None = now

    def turn(self, now: float) -> None:
        """Read what came; ask again when everything is answered. Raises OSError when it is gone."""
        with suppress(BlockingIOError):
            while data := self._socket.recv(1 << 12):
                if self._decoder.feed(data):
                    self.asked_at = None
            raise ConnectionResetError
        if self.asked_at is None:
            self._socket.send(_PING)
            self.asked_at = now

    def forgive(self, seconds: float) -> None:
        """Count so much of its time as not passed."""
        if self.asked_at is not None:
            self.asked_at += seconds

    def close(self) -> None:
        self._socket.close()


class Prober:
    """Probes on its own thread every ``every_s``; ``hang_s`` without an answer is a hang.

    ``clock`` is monotonic seconds; ``wake`` is called when somebody is found hanging.
    """

    def __init__(
        self,
        *,
        hang_s: float,
        clock: Callable[[], float],
        wake: Callable[[], None],
        every_s: float = 2.0,
    ) -> None:
        self._hang_s = hang_s
        self._clock = clock
        self._wake = wake
        self._every_s = every_s
        self._probes: dict[str, _Probe] = {}
        self._addresses: Mapping[str, str] = {}
        self._hung: frozenset[str] = frozenset()
        self._stopping = threading.Event()
        #: When everybody was asked last.
        self._turned_at = clock()

    @property
    def hung(self) -> frozenset[str]:
        """Ids of the replicas that give no sign of life."""
        return self._hung

    def watch(self, addresses: Mapping[str, str]) -> None:
        """Probe exactly these from now on: replica id → socket path. Any thread."""
        self._addresses = addresses

    def start(self) -> None:
        """Begin probing."""
        threading.Thread(target=self._run, name="prober", daemon=True).start()

    def stop(self) -> None:
        """End probing."""
        self._stopping.set()

    def turn(self) -> None:
        """Ask everybody once."""
        now, addresses = self._clock(), self._addresses
        late = now - self._turned_at - self._every_s
        self._turned_at = now
        if late > _LATE_S:  # we stood still, and so may they have: no question is older for that
            for each in self._probes.values():
                each.forgive(late)
        for replica_id in self._probes.keys() - addresses.keys():
            self._probes.pop(replica_id).close()
        hung = set()
        for replica_id, address in addresses.items():
            probe = self._probe(replica_id, address, now)
            if (
                probe is not None
                and probe.asked_at is not None
                and now - probe.asked_at > self._hang_s
            ):
                hung.add(replica_id)
        if hung - self._hung:
            self._wake()
        self._hung = frozenset(hung)

    def _probe(self, replica_id: str, address: str, now: float) -> _Probe | None:
        """The replica's probe after a turn; None when it can't be reached: the engine sees ends."""
        try:
            probe = self._probes.get(replica_id) or _Probe(address, now)
            self._probes[replica_id] = probe
            probe.turn(now)
        except (OSError, FrameError):
            if replica_id in self._probes:
                self._probes.pop(replica_id).close()
            return None
        return probe

    def _run(self) -> None:
        while not self._stopping.wait(self._every_s):
            self.turn()
        for probe in self._probes.values():
            probe.close()
