"""Errors that come in clusters, when nothing differs: deaths of replicas, a client that repeats.

What gateways make of them is modelled (one event per dead replica, one per second of an equal body,
over all arms), and what would be if every failed request counted, for contrast.
"""

from collections.abc import Iterator

import numpy as np

from bench.rates import Rate
from bench.traces import RAMP, Rng, chunks
from serinus.evidence.eprocess import Events, Floats, log_regression

__all__ = ["clusters"]

#: Twenty minutes at 200 requests/s, five at each weight, looked at every ten seconds.
_RATE, _TICK, _TICKS = 200.0, 10.0, 30
#: Seconds that a request is in flight: of a busy service, so that a death always hits somebody.
_LATENCY = 0.1
_REPLICAS = 2
#: One replica in ten minutes: a service in trouble, and no version's fault.
_DEATHS = 1.0 / 600.0
_MARGIN, _FLOOR = 1.0, 0.01
_ALPHA = 0.05


def clusters(rng: Rng, runs: int) -> Iterator[Rate]:
    """Each kind of cluster, as it is counted and as it must not be."""
    yield _rate(rng, runs, "replica deaths, one event each")
    yield _rate(rng, runs, "replica deaths, one event each, control arm", control=True)
    yield _rate(
        rng, runs, "replica deaths, control arm, margin 0 and no floor", control=True, bare=True
    )
    yield _rate(rng, runs, "replica deaths, every request counted (wrong)", every=True)
    yield _rate(rng, runs, "replica deaths, margin 0 and no floor (for contrast)", bare=True)
    yield _client(rng, runs, "one body 20 times a second, one event a second", 1, sticky=False)
    yield _client(rng, runs, "one sticky client failing, one event per unit", 0, sticky=True)
    yield _client(
        rng, runs, "one sticky client failing, every request counted (wrong)", 20, sticky=True
    )


def _rate(
    rng: Rng,
    runs: int,
    name: str,
    *,
    control: bool = False,
    every: bool = False,
    bare: bool = False,
) -> Rate:
    hits = 0
    for part in chunks(runs):
        mine, theirs = (np.zeros((part, _TICKS * len(RAMP), len(RAMP))) for _ in range(2))
        for stage, share in enumerate(RAMP):
            other = share if control else 1.0 - share
            span = slice(stage * _TICKS, (stage + 1) * _TICKS)
            mine[:, span, stage] = _deaths(rng, (part, _TICKS), share, every=every)
            theirs[:, span, stage] = _deaths(rng, (part, _TICKS), other, every=every)
        hits += _alarms(mine, theirs, control=control, bare=bare)
    contrast = every or (bare and not control)
    return Rate(f"errors: {name}", hits, runs, 1.0 if contrast else _ALPHA)


def _deaths(rng: Rng, size: tuple[int, int], share: float, *, every: bool) -> Floats:
    """Error events of one arm per tick; a replica dies with what it has in flight, if anything."""
    in_flight = _RATE * share * _LATENCY / _REPLICAS
    deaths = rng.poisson(_DEATHS * _REPLICAS * _TICK, size)
    if every:
        return rng.poisson(in_flight * deaths).astype(np.float64)
    return rng.binomial(deaths, 1.0 - np.exp(-in_flight)).astype(np.float64)


def _client(rng: Rng, runs: int, name: str, weight: int, *, sticky: bool) -> Rate:
    """One minute in each stage; ``weight``: events a second, 0 for one in the whole stage."""
    hits = 0
    for part in chunks(runs):
        mine, theirs = (np.zeros((part, _TICKS * len(RAMP), len(RAMP))) for _ in range(2))
        point = rng.random((part, 1))
        for stage, share in enumerate(RAMP):
            for tick in range(6):
                look = stage * _TICKS + 5 + tick
                if sticky:
                    count = np.full(part, float(weight * _TICK if weight else tick == 0))
                    on_candidate = count * (point[:, 0] < share)
                else:
                    count = np.full(part, weight * _TICK)
                    on_candidate = rng.binomial(int(weight * _TICK), share, part).astype(float)
                mine[:, look, stage] = on_candidate
                theirs[:, look, stage] = count - on_candidate
        # A background of errors that are nobody's fault, so that there is something to compare.
        for stage, share in enumerate(RAMP):
            span = slice(stage * _TICKS, (stage + 1) * _TICKS)
            lone = rng.poisson(_RATE * _TICK * 0.001, (part, _TICKS))
            fallen = rng.binomial(lone, share)
            mine[:, span, stage] += fallen
            theirs[:, span, stage] += lone - fallen
        hits += _alarms(mine, theirs, bare=True)
    contrast = sticky and weight > 0
    return Rate(f"errors: {name}, margin 0", hits, runs, 1.0 if contrast else _ALPHA)


def _alarms(mine: Floats, theirs: Floats, *, control: bool = False, bare: bool = False) -> int:
    """Rollouts convicted at any look, by the default guardrail or, bare, by the test alone."""
    on_candidate, on_other = mine.cumsum(axis=1), theirs.cumsum(axis=1)
    shares = np.array([0.5 if control else share for share in RAMP])
    events = Events(on_candidate, on_candidate + on_other, shares)
    log = log_regression(events, 1.0 if bare else 1.0 + _MARGIN)
    if not bare:
        trials = np.cumsum(np.repeat(RAMP, _TICKS)) * _RATE * _TICK
        hits = on_candidate.sum(axis=-1)
        above = Events(
            hits[..., None],
            np.broadcast_to(trials[:, None], (*hits.shape, 1)),
            np.array([_FLOOR]),
        )
        log = np.minimum(log, log_regression(above))
    return int((log >= -np.log(_ALPHA)).any(axis=1).sum())
