"""Rate limits as one gateway keeps them: a bucket of calls per endpoint and per user.

Each gateway has its share of a limit, so that together they let through about what was asked for.
Nothing here is parsed or allocated for a request, but a bucket for a user that is new.
"""

import math
from collections.abc import Callable, Mapping

from serinus.entities import RateLimit
from serinus.errors import RequestLimitExceeded
from serinus.traffic import EndpointRoutes

__all__ = ["EndpointLimits", "Limits"]

_PERIOD_S = 60.0
#: Buckets of users; past it the one that was made first goes, and with it at most one period.
_MOST_USERS = 10_000


class _Bucket:
    """Fills steadily up to what may be called in one period; a call takes one."""

    __slots__ = ("_at", "_level", "_per_s", "_room", "calls")

    def __init__(self, calls: int, gateways: int, now: float) -> None:
        self.calls = calls
        share = calls / gateways
        self._per_s = share / _PERIOD_S
        # A share below one call must still let one through, in its time.
        self._room = max(share, 1.0) if calls else 0.0
        self._level = self._room
        self._at = now

    def level(self, now: float) -> float:
        """How many calls may be made now."""
        level = self._level + (now - self._at) * self._per_s
        self._level = level = min(level, self._room)
        self._at = now
        return level

    def take(self) -> None:
        """Count a call that `level` allowed."""
        self._level -= 1.0

    def wait_s(self) -> int:
        """Whole seconds until the next call may be made, as of the last `level`."""
        if not self._per_s:
            return int(_PERIOD_S)
        return max(1, math.ceil((1.0 - self._level) / self._per_s))


class EndpointLimits:
    """The limits of one endpoint. ``clock`` is monotonic."""

    __slots__ = ("_clock", "_each", "_gateways", "_known", "_name", "_named", "_whole", "limits")

    def __init__(
        self,
        name: str,
        limits: tuple[RateLimit, ...],
        gateways: int,
        clock: Callable[[], float],
    ) -> None:
        self.limits = limits
        self._name = name
        self._gateways = gateways
        self._clock = clock
        whole = [each.calls for each in limits if each.key == "endpoint"]
        self._whole = _Bucket(min(whole), gateways, clock()) if whole else None
        each = [each.calls for each in limits if each.key == "user" and not each.principal]
        self._each = min(each) if each else None
        self._named = {each.principal: each.calls for each in limits if each.principal}
        self._known: dict[str, _Bucket | None] = {}

    def take(self, user: str) -> None:
        """Count a call of ``user``; raises RequestLimitExceeded when it is one too many."""
        now = self._clock()
        try:
            own = self._known[user]
        except KeyError:
            own = self._new(user, now)
        whole = self._whole
        # Both are asked before either is charged: what is refused costs nothing.
        if own is not None and own.level(now) < 1.0:
            raise self._refusal(
                f"{own.calls} a minute for {user or 'callers without a token'}", own
            )
        if whole is not None:
            if whole.level(now) < 1.0:
                raise self._refusal(f"{whole.calls} a minute", whole)
            whole.take()
        if own is not None:
            own.take()

    def _new(self, user: str, now: float) -> _Bucket | None:
        calls = self._named.get(user, self._each)
        bucket = None if calls is None else _Bucket(calls, self._gateways, now)
        if len(self._known) >= _MOST_USERS:
            del self._known[next(iter(self._known))]
        self._known[user] = bucket
        return bucket

    def _refusal(self, limit: str, bucket: _Bucket) -> RequestLimitExceeded:
        wait = bucket.wait_s()
        return RequestLimitExceeded(
            f"Endpoint '{self._name}' is limited to {limit}; the next call may be made "
            f"in {wait} s.",
            retry_after=wait,
        )


class Limits:
    """The limits of all endpoints; what was counted outlives a new table."""

    def __init__(self, gateways: int, clock: Callable[[], float]) -> None:
        self._gateways = gateways
        self._clock = clock
        self._by_name: dict[str, EndpointLimits] = {}

    def learn(self, endpoints: tuple[EndpointRoutes, ...]) -> Mapping[str, EndpointLimits]:
        """The limits by endpoint name; endpoints without any are not in it."""
        known, self._by_name = self._by_name, {}
        for endpoint in endpoints:
            if not endpoint.limits:
                continue
            limits = known.get(endpoint.name)
            if limits is None or limits.limits != endpoint.limits:
                limits = EndpointLimits(endpoint.name, endpoint.limits, self._gateways, self._clock)
            self._by_name[endpoint.name] = limits
        return self._by_name
