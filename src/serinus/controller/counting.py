"""Adds up the meters of all gateways: since each began, and over the last minute. Judges nothing.

Meters are cumulative per gateway incarnation, so that hearing one twice adds nothing; those of a
gateway that is gone still count.
"""

import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable
from functools import reduce

from serinus.evidence.meter import Counts, Meter

__all__ = ["Counting"]

#: (endpoint, served entity; empty for what was refused, both for what no endpoint heard of)
_Key = tuple[str, str]
#: (gateway id, incarnation)
_Gateway = tuple[str, str]

_MINUTE_S = 60.0
#: Sums are remembered at most this often; so exact is the beginning of the minute.
_STEP_S = 2.0
#: Gateways that are remembered, dead ones included; the one heard longest ago goes first.
_MOST_GATEWAYS = 64


class Counting:
    """The newest meters of every gateway. Any thread. ``clock`` is monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._newest: dict[_Key, dict[_Gateway, Meter]] = {}
        #: What the sum was, and when, over a little more than a minute.
        self._past: dict[_Key, deque[tuple[float, Meter]]] = {}
        #: When the sum changed last.
        self._moved: dict[_Key, float] = {}
        self._heard: dict[_Gateway, float] = {}

    def take(self, counts: Counts) -> None:
        """Keep what a gateway told."""
        gateway = (counts.gateway_id, counts.incarnation)
        at = self._clock()
        with self._lock:
            self._hear(gateway, at)
            for meter in counts.meters:
                self._take(gateway, meter, at, known=not counts.whole)

    def gone(self, gateway: _Gateway) -> None:
        """That gateway is not connected: nothing is in flight there as far as anybody knows."""
        with self._lock:
            for meters in self._newest.values():
                if gateway in meters:
                    meters[gateway].in_flight = meters[gateway].cached_bytes = 0

    def keep(self, endpoints: Collection[str]) -> None:
        """Forget all others: they are deleted, and one of such a name begins at nothing."""
        with self._lock:
            for key in [key for key in self._newest if key[0] and key[0] not in endpoints]:
                del self._newest[key]
                del self._past[key]
                self._moved.pop(key, None)

    def totals(self) -> list[Meter]:
        """Every served entity since the gateways began, and what was refused (served as "")."""
        with self._lock:
            return [_sum(key, meters.values()) for key, meters in sorted(self._newest.items())]

    def minute(self, endpoint: str) -> Meter:
        """All of the endpoint's requests of the last minute."""
        since = self._clock() - _MINUTE_S
        whole = Meter(endpoint, "")
        with self._lock:
            for key, meters in self._newest.items():
                if key[0] == endpoint and self._moved.get(key, since) > since:
                    now, before = _sum(key, meters.values()), self._before(key, since)
                    whole = whole.add(now.add(before, -1))
        return whole

    def _hear(self, gateway: _Gateway, at: float) -> None:
        self._heard[gateway] = at
        if len(self._heard) <= _MOST_GATEWAYS:
            return
        oldest = min(self._heard, key=self._heard.__getitem__)
        del self._heard[oldest]
        for meters in self._newest.values():
            meters.pop(oldest, None)

    def _take(self, gateway: _Gateway, meter: Meter, at: float, *, known: bool) -> None:
        key = (meter.endpoint, meter.served)
        meters = self._newest.setdefault(key, {})
        past = self._past.setdefault(key, deque([(at - 1e-9, Meter(*key))]))
        before = meters.get(gateway)
        if before is not None and meter.requests < before.requests:
            # Another endpoint of the same name: all that is known is of the one that is gone.
            meters.clear()
            past.clear()
            past.append((at - 1e-9, Meter(*key)))
        elif before is None and not known:
            # What a gateway counted before it was heard of may be older than a minute: it is taken
            # as if it had been there all the time.
            meters[gateway] = meter
            self._past[key] = deque((then, total.add(meter)) for then, total in past)
            return
        if past[-1][0] <= at - _STEP_S:
            past.append((at, _sum(key, meters.values())))
        meters[gateway] = meter
        self._moved[key] = at
        while len(past) > 1 and past[1][0] <= at - _MINUTE_S:
            past.popleft()

    def _before(self, key: _Key, since: float) -> Meter:
        """The sum as it was then; of what is younger, its beginning."""
        found = self._past[key][0][1]
        for at, total in self._past[key]:
            if at > since:
                break
            found = total
        return found


def _sum(key: _Key, meters: Iterable[Meter]) -> Meter:
    return reduce(Meter.add, meters, Meter(*key))
