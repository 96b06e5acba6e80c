"""How long requests took, stage by stage: histograms that add up exactly, and quantiles of them.

A stage is a part of a request's way through a replica, in the eyes of who waits for the answer.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from serinus.parity.buckets import Buckets, over

__all__ = ["STAGES", "count_took", "stages_of"]

#: Until its batch began; reading the whole batch; the model; all that remains.
STAGES = ("wait", "read", "model", "write")
#: Bucket b counts microseconds in (2^((b-1)/8), 2^(b/8)].
_STEPS = 8
_MICRO = 1e6
_QUANTILES = {"p50_s": 0.5, "p95_s": 0.95, "p99_s": 0.99}


def count_took(counts: dict[str, Buckets], took: Mapping[str, Sequence[float]]) -> None:
    """Count the seconds of some requests."""
    for stage, seconds in took.items():
        micros = np.maximum(np.asarray(seconds, dtype=np.float64) * _MICRO, 1.0)
        found = over(np.ceil(np.log2(micros) * _STEPS).astype(np.int64))
        counts.setdefault(stage, Buckets()).add(found)


def stages_of(counts: Mapping[str, Buckets]) -> dict[str, dict[str, Any]]:
    """Requests and quantiles, in seconds, of each stage that was counted, in their order."""
    return {name: _quantiles(counts[name]) for name in STAGES if name in counts}


def _quantiles(counts: Buckets) -> dict[str, Any]:
    upto = np.cumsum(counts.counts)
    total = int(upto[-1]) if len(upto) else 0
    found: dict[str, Any] = {"requests": total}
    for name, quantile in _QUANTILES.items():
        bucket = counts.first + int(np.searchsorted(upto, max(math.ceil(quantile * total), 1)))
        found[name] = round(2.0 ** ((bucket - 0.5) / _STEPS) / _MICRO, 7) if total else None
    return found
