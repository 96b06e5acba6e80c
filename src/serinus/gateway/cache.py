"""Answers that are given again, where an endpoint's policy says so, and requests that share one.

It keeps answers of models alone, never errors, and only for as long as the policy says; what it
holds is bounded. An endpoint without such a policy has none of this in its way.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from msgspec.structs import replace

from serinus.errors import SerinusError
from serinus.evidence.meter import Meter
from serinus.gateway.pool import Pool, ReplicaLink
from serinus.replica.protocol import Format, Frame, Kind

__all__ = ["Cache", "CacheLimits", "Shelf", "how_it_came"]

#: What the meta of an answer says that went by a cache; see `Kind.RESPONSE`.
_HIT, _MISS = b"hit", b"miss"
_HEADERS = {each: ((b"x-serinus-cache", each),) for each in (_HIT, _MISS)}
#: Bytes that an answer takes up beside its body and that of its request.
_OVERHEAD = 512

#: Edition of the served entity, format and body: all that an answer depends on.
_Key = tuple[str, Format, bytes]
_Follower = asyncio.Future[Frame | None]


@dataclass(frozen=True, slots=True)
class CacheLimits:
    """What all kept answers of one gateway may take up."""

    size: int = 64 << 20
    entries: int = 50_000
    #: Bytes of a request or an answer that is looked at; a longer one passes by.
    longest: int = 256 << 10


@dataclass(slots=True)
class _Entry:
    answer: Frame
    expires_at: float
    size: int
    meter: Meter


class Cache:
    """The answers of all endpoints at one gateway; the one used longest ago goes first."""

    def __init__(self, limits: CacheLimits | None = None) -> None:
        self.limits = limits or CacheLimits()
        self.size = 0
        #: Whose answers are kept.
        self._editions: set[str] = set()
        self._entries: OrderedDict[_Key, _Entry] = OrderedDict()

    def __len__(self) -> int:
        """How many answers are kept."""
        return len(self._entries)

    def get(self, key: _Key, now: float) -> Frame | None:
        """The answer, if it may still be given."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if now >= entry.expires_at:
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return entry.answer

    def put(self, key: _Key, answer: Frame, expires_at: float, meter: Meter) -> None:
        """Keep an answer, for which others may have to go."""
        limits = self.limits
        size = len(key[2]) + len(answer.body) + _OVERHEAD
        if len(answer.body) > limits.longest or size > limits.size:
            return
        if key[0] not in self._editions:
            return  # the routes have changed since it was asked for
        if key in self._entries:
            self._drop(key)
        self._entries[key] = _Entry(answer, expires_at, size, meter)
        self.size += size
        meter.cached_bytes += size
        while self.size > limits.size or len(self._entries) > limits.entries:
            oldest = next(iter(self._entries))
            self._entries[oldest].meter.note_cache("evicted")
            self._drop(oldest)

    def keep(self, editions: set[str]) -> None:
        """Keep the answers of these, and of no others any more."""
        self._editions = editions
        for key in [key for key in self._entries if key[0] not in editions]:
            self._drop(key)

    def _drop(self, key: _Key) -> None:
        entry = self._entries.pop(key)
        self.size -= entry.size
        entry.meter.cached_bytes -= entry.size


class Shelf:
    """One endpoint's part of the cache. ``clock`` is monotonic seconds."""

    def __init__(self, cache: Cache, ttl_s: float, clock: Callable[[], float]) -> None:
        self.ttl_s = ttl_s
        self._cache = cache
        self._clock = clock
        #: Requests that a replica is asked, and who else waits for the answer.
        self._asked: dict[_Key, list[_Follower]] = {}
        # Hashes of what was evidence, and when it came: of this while and of the one before.
        self._lately: dict[int, float] = {}
        self._before: dict[int, float] = {}
        self._since = clock()

    def repeated(self, body: bytes, format_: Format) -> bool:
        """Whether such a request came within the time to live, whoever answered it.

        It must not matter who did: an arm with more traffic has more of its answers kept, and what
        is left of the others would weigh less on it.
        """
        now, what = self._clock(), hash((body, format_))
        came = self._lately.get(what, self._before.get(what))
        if came is not None and now - came < self.ttl_s:
            return True
        if now - self._since >= self.ttl_s or len(self._lately) >= self._cache.limits.entries:
            self._before, self._lately, self._since = self._lately, {}, now
        self._lately[what] = now
        return False

    async def ask(
        self, pool: Pool, body: bytes, format_: Format, meta: bytes = b"", *, anew: bool = False
    ) -> tuple[ReplicaLink | None, Frame]:
        """An answer, and the link that it came over: None for one that was given before.

        ``anew``: a replica is asked in any case. Raises what `Pool.call` raises; who waited for the
        same answer gets the same refusal.
        """
        cached = pool.meter.note_cache
        if len(body) > self._cache.limits.longest:
            cached("passed")
            return await pool.call(body, format_, meta)
        key = (pool.edition, format_, body)
        if not anew:
            kept = self._cache.get(key, self._clock())
            if kept is not None:
                cached("hit")
                return None, kept
            followers = self._asked.get(key)
            if followers is not None:
                return await self._follow(followers, pool, key, meta)
        cached("miss")
        link, frame = await self._lead(pool, key, meta)
        return link, replace(frame, meta=_MISS)

    async def _lead(self, pool: Pool, key: _Key, meta: bytes) -> tuple[ReplicaLink, Frame]:
        """Ask a replica, for all who want to know the same meanwhile."""
        followers: list[_Follower] = []
        self._asked[key] = followers
        expires_at = self._clock() + self.ttl_s
        answer: Frame | SerinusError | None = None
        try:
            link, frame = await pool.call(key[2], key[1], meta)
            if frame.status == 200:
                # Neither the replica's batch nor its time is that of those who get it again.
                answer = Frame(Kind.RESPONSE, 0, frame.body, _HIT, frame.format, 200)
                if self._clock() < expires_at:
                    self._cache.put(key, answer, expires_at, pool.meter)
        except SerinusError as error:
            answer = error
            raise
        finally:
            if self._asked.get(key) is followers:
                del self._asked[key]
            _tell(followers, answer)
        return link, frame

    async def _follow(
        self, followers: list[_Follower], pool: Pool, key: _Key, meta: bytes
    ) -> tuple[ReplicaLink | None, Frame]:
        told: _Follower = asyncio.get_running_loop().create_future()
        followers.append(told)
        answer = await told
        if answer is not None:
            pool.meter.note_cache("joined")
            return None, answer
        # An error is for the one who got it, and who went away asked for nobody else.
        pool.meter.note_cache("miss")
        link, frame = await pool.call(key[2], key[1], meta)
        return link, replace(frame, meta=_MISS)


def how_it_came(answer: Frame) -> tuple[tuple[bytes, bytes], ...]:
    """The header that says whether an answer was given before; none where none ever is."""
    return _HEADERS.get(answer.meta, ())


def _tell(followers: list[_Follower], answer: Frame | SerinusError | None) -> None:
    for each in followers:
        if each.done():
            continue  # gone by now
        if isinstance(answer, SerinusError):
            each.set_exception(answer)
        else:
            each.set_result(answer)
