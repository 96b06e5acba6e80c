"""Times of stages: quantiles within their bound, and the same however they were added."""

import numpy as np
import pytest

from serinus.parity.buckets import Buckets
from serinus.parity.took import STAGES, count_took, stages_of


def test_quantiles_are_within_nine_percent() -> None:
    seconds = np.random.default_rng(0).lognormal(-7, 1, 5000).tolist()
    counts: dict[str, Buckets] = {}
    count_took(counts, {"model": seconds, "wait": [0.0] * 10})
    found = stages_of(counts)
    assert list(found) == ["wait", "model"]
    assert found["model"]["requests"] == 5000
    for name, share in (("p50_s", 0.5), ("p95_s", 0.95), ("p99_s", 0.99)):
        assert found["model"][name] == pytest.approx(np.quantile(seconds, share), rel=0.09)
    assert found["wait"]["p99_s"] <= 1e-6


def test_it_adds_up() -> None:
    seconds = np.random.default_rng(1).lognormal(-6, 2, 300).tolist()
    whole: dict[str, Buckets] = {}
    count_took(whole, {"read": seconds})
    parts: dict[str, Buckets] = {}
    some: list[list[float]] = [seconds[200:], seconds[:120], [], seconds[120:200]]
    for part in some:
        count_took(parts, {"read": part})
    assert parts["read"].named() == whole["read"].named()
    assert stages_of({}) == {}
    assert set(stages_of(parts)) <= set(STAGES)
