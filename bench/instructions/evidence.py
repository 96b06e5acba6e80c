"""What the controller's judge does at each look, and a gateway's counts on their way to it."""

from collections.abc import Callable

import numpy as np

from bench.instructions.drive import HotPath
from bench.traces import LiveStage, latency_arms
from serinus.evidence.guardrails import (
    Confidence,
    ErrorRate,
    Evidence,
    Guardrail,
    Latency,
    Predictions,
)
from serinus.evidence.verdict import judge
from serinus.evidence.windows import Timeline

__all__ = ["paths"]

_STAGES = 10


def paths() -> list[HotPath]:
    """The e-process verdict over ten stages, with the default guardrails."""
    rng = np.random.default_rng(7)
    timeline, stages = Timeline(), []
    for number in range(_STAGES):
        share = 0.01 + number * 0.05
        stage = LiveStage(timeline, number, share)
        arms = latency_arms(rng, 1000, share, 1.0, 1.0)
        for arm in arms:
            arm.lone_errors = int(rng.binomial(arm.requests, 0.01))
            arm.predictions = {"a": arm.requests // 2, "b": arm.requests // 3}
        stage.add(*arms)
        stages.append(stage.total)
    evidence = Evidence(stages, timeline)
    guards: list[Guardrail] = [ErrorRate(), Latency(), Predictions()]

    def verdicts(n: int) -> Callable[[], None]:
        def work() -> None:
            for _ in range(n):
                judge(evidence, guards, Confidence(), 5000)

        return work

    return [HotPath("evidence.verdict", 5, verdicts)]
