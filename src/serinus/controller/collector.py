"""Asks every ready replica what it has seen of live values, and keeps the answers in the store.

On a thread of its own: the control loop never waits for it. A replica's counts are cumulative, so
that hearing them twice adds nothing; rows that it keeps as evidence are heard once, oldest first.
It judges nothing.
"""

import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec
import structlog

from serinus.controller.groups import group_of
from serinus.controller.snapshot import Snapshot
from serinus.controller.told import Told
from serinus.engine.engine import ReplicaPhase
from serinus.entities import ServedEntity
from serinus.errors import SerinusError
from serinus.parity.live import Live, Watch, read_live
from serinus.parity.sketch import WHOLE_HOUR
from serinus.replica.protocol import Decoder, Frame, FrameError, Kind, encode
from serinus.store.live import LiveHour
from serinus.store.repository import Store
from serinus.store.samples import Sampled

__all__ = ["Collector", "Watched", "watched_of"]

_log = structlog.get_logger("serinus.controller")
#: A whole hour takes the place of its callers only when it holds clearly more than they do.
_CLEARLY_MORE = 1.02
#: Rows that wait for a store that is away; past it the oldest are lost.
_MOST_WAITING = 20_000
#: Hours this much older than now are put together: no replica speaks of them any more.
_OLD_H = 26


@dataclass(frozen=True, slots=True)
class Watched:
    """One replica, and what it serves."""

    address: str
    endpoint_id: str
    served_name: str
    model_digest: str


def watched_of(snapshot: Snapshot) -> dict[str, Watched]:
    """Every ready replica of a served entity, by its id."""
    owners: dict[str, tuple[str, str]] = {}
    for endpoint in snapshot.endpoints:
        entities: list[ServedEntity] = []
        for config in (endpoint.pending, endpoint.active):
            entities += config.entities if config is not None else ()
        for view in snapshot.rollouts_of(endpoint.id):
            entities += view.pools(snapshot.at)
        for entity in entities:
            if entity.model is not None and entity.environment is not None:
                owners[group_of(endpoint.id, entity)] = (endpoint.id, entity.name)
    return {
        replica.spec.replica_id: Watched(
            replica.address, *owners[replica.spec.group], replica.spec.model_digest
        )
        for replica in snapshot.replicas or ()
        if replica.phase is ReplicaPhase.READY and replica.spec.group in owners
    }


class _Line:
    """A connection to one replica, with at most one open question."""

    def __init__(self, watched: Watched) -> None:
        self.watched = watched
        self.sequence = self.row_sequence = 0
        self.asked = False
        self._decoder = Decoder()
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(1.0)
        try:
            self.socket.connect(watched.address)
        except OSError:
            self.socket.close()
            raise

    def ask(self) -> None:
        """Send the question; raises OSError."""
        body = msgspec.msgpack.encode(Watch(self.sequence, True, self.row_sequence))
        self.socket.sendall(encode(Frame(Kind.WATCH, 1, body)))
        self.asked = True

    def hear(self) -> Live | None:
        """What came; raises OSError or FrameError when there is nobody to hear any more."""
        data = self.socket.recv(1 << 18)
        if not data:
            raise ConnectionResetError
        for frame in self._decoder.feed(data):
            if frame.kind is Kind.DRAINING:
                raise ConnectionResetError
            if frame.kind is Kind.LIVE:
                self.asked = False
                if frame.status == 200:
                    return self._heard(read_live(frame.body))
        return None

    def _heard(self, live: Live) -> Live:
        self.sequence = live.sequence
        self.row_sequence = max(self.row_sequence, live.row_sequence)
        return live


class Collector:
    """Collects every ``every_s``, keeps in the store every ``keep_s``.

    ``clock`` is monotonic seconds, ``wall`` seconds since the epoch; hours older than
    ``retention_h`` are forgotten.
    """

    def __init__(
        self,
        store: Store,
        *,
        clock: Callable[[], float],
        wall: Callable[[], float],
        every_s: float = 5.0,
        keep_s: float = 15.0,
        answer_s: float = 3.0,
        retention_h: int = 7 * 24,
        told: Told | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._wall = wall
        self._every_s = every_s
        self._keep_s = keep_s
        self._answer_s = answer_s
        self._retention_h = retention_h
        self._told = told
        self._watched: Mapping[str, Watched] = {}
        self._lines: dict[str, _Line] = {}
        self._lock = threading.Lock()
        self._changed: dict[tuple[str, str, int, str, str], LiveHour] = {}
        self._rows: deque[Sampled] = deque(maxlen=_MOST_WAITING)
        self._tidied = 0
        self._counted: dict[tuple[str, int], dict[str, int]] = {}
        self._kept_at = clock()
        self._turning = threading.Lock()
        self._stopping = threading.Event()

    def watch(self, replicas: Mapping[str, Watched]) -> None:
        """Ask exactly these from now on. Any thread."""
        self._watched = replicas

    @property
    def watched(self) -> Mapping[str, Watched]:
        """The replicas that are asked, by id. Any thread."""
        return self._watched

    def start(self) -> None:
        """Begin to ask."""
        threading.Thread(target=self._run, name="collector", daemon=True).start()

    def stop(self) -> None:
        """End, and keep what was heard."""
        self._stopping.set()
        with self._turning:
            for line in self._lines.values():
                line.socket.close()
            self._lines.clear()
        self.keep()

    def turn(self) -> None:
        """Ask everybody once and hear those who answer in time."""
        with self._turning:
            if self._stopping.is_set():
                return
            self._connect()
            self._ask_all()
        if self._clock() - self._kept_at >= self._keep_s:
            self.keep()

    def refresh(self) -> None:
        """Ask now, and have the store hold the answers. Any thread."""
        with self._turning:
            self._connect()
            self._ask_all()
        self.keep()

    def keep(self) -> None:
        """Write what has changed to the store; what can't be written now is tried again."""
        with self._lock:
            changed, self._changed = self._changed, {}
            rows = list(self._rows)
            self._rows.clear()
            self._kept_at = self._clock()
        hour = int(self._wall() // 3600)
        oldest = hour - self._retention_h
        try:
            if changed:
                self._store.live.keep(list(changed.values()), not_before=oldest)
                changed = {}
            if rows:
                self._store.samples.keep(rows, not_before=oldest)
                rows = []
            if hour > self._tidied:
                self._tidied = hour
                gone = self._store.live.tidy(joined_before=hour - _OLD_H)
                if gone:
                    _log.warning("live_hours_forgotten", hours=gone, why="too many bytes")
        except SerinusError as error:
            _log.warning("live_values_not_kept", why=error.message, hours=len(changed))
            with self._lock:
                self._changed = changed | self._changed
                self._rows.extendleft(reversed(rows))

    def _run(self) -> None:
        while not self._stopping.wait(self._every_s):
            try:
                self.turn()
            except Exception:  # noqa: BLE001 - the next turn tries again
                _log.exception("collecting_failed")

    def _connect(self) -> None:
        watched = self._watched
        for replica_id in self._lines.keys() - watched.keys():
            self._lines.pop(replica_id).socket.close()
        for replica_id, replica in watched.items():
            if replica_id not in self._lines:
                try:
                    self._lines[replica_id] = _Line(replica)
                except OSError:
                    continue  # gone, or not there yet: the engine sees that

    def _ask_all(self) -> None:
        with selectors.DefaultSelector() as selector:
            for replica_id, line in list(self._lines.items()):
                try:
                    if not line.asked:
                        line.ask()
                except OSError:
                    self._lose(replica_id)
                else:
                    selector.register(line.socket, selectors.EVENT_READ, replica_id)
            give_up_at = self._clock() + self._answer_s
            while selector.get_map() and (left := give_up_at - self._clock()) > 0:
                for key, _ in selector.select(left):
                    if self._hear(key.data):
                        selector.unregister(key.fileobj)

    def _hear(self, replica_id: str) -> bool:
        """Read what came; True when this replica has nothing more to say."""
        line = self._lines[replica_id]
        try:
            live = line.hear()
        except (OSError, FrameError, msgspec.DecodeError):
            self._lose(replica_id)
            return True
        if live is None:
            return False
        self._take(line.watched, live)
        return True

    def _lose(self, replica_id: str) -> None:
        self._lines.pop(replica_id).socket.close()

    def _take(self, watched: Watched, live: Live) -> None:
        owner = (
            watched.endpoint_id,
            watched.served_name,
            live.incarnation,
            watched.model_digest,
        )
        if self._told is not None:
            self._told.take(watched.endpoint_id, watched.served_name, live)
        with self._lock:
            self._rows.extend(Sampled(*owner, record) for record in live.records)
            for cell in live.cells:
                if not self._counts(live, cell.caller, cell.hour, cell.rows):
                    continue
                hour = LiveHour(
                    watched.endpoint_id,
                    watched.served_name,
                    cell.hour,
                    cell.caller,
                    live.incarnation,
                    live.contract,
                    watched.model_digest,
                    cell.rows,
                    cell.content,
                )
                key = (hour.endpoint_id, hour.served_name, hour.hour, hour.caller, hour.source)
                self._changed[key] = hour

    def _counts(self, live: Live, caller: str, hour: int, rows: int) -> bool:
        """False for a whole hour whose callers are known each for itself."""
        known = self._counted.setdefault((live.incarnation, hour), {})
        if caller == WHOLE_HOUR and rows <= _CLEARLY_MORE * sum(
            count for name, count in known.items() if name != WHOLE_HOUR
        ):
            return False
        known[caller] = rows
        for gone in [key for key in self._counted if key[1] < hour - 48]:
            del self._counted[gone]
        return True
