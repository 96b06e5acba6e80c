"""`python -m bench.evidence_speed`: what evidence costs, beside a plain loop on the same machine.

Recording one request in the gateway, and a verdict over 100 stages and 6 comparisons (errors with
and without a floor, p50, p95, p99, predictions). Writes `results/evidence_speed.json`. Times are of
the processor, and the machine's own speed is told as the time of a fixed loop, so that ratios can
be compared where times can't.
"""

import argparse
import asyncio
import json
import timeit
from collections.abc import Callable
from pathlib import Path
from time import process_time

import numpy as np

from bench.machine import plain_loop
from bench.traces import LiveStage, Rng, latency_arms
from serinus.evidence.guardrails import (
    Confidence,
    ErrorRate,
    Evidence,
    Guardrail,
    Latency,
    Predictions,
)
from serinus.evidence.summary import Arm, StageSummary
from serinus.evidence.verdict import judge
from serinus.evidence.windows import Timeline
from serinus.gateway.pool import ReplicaLink
from serinus.gateway.recorder import Recorder
from serinus.replica.protocol import Frame, Kind
from serinus.traffic import ReplicaAddress, StageRoute

_RESULT = Path(__file__).parent / "results" / "evidence_speed.json"
_REQUESTS = 20_000
#: Targets: microseconds a request, milliseconds a verdict.
TARGETS = {"record_us": 3.0, "verdict_ms": 5.0}


def main() -> int:
    """Measure, print, keep; 1 when a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.evidence_speed", description=__doc__)
    parser.add_argument("--dry", action="store_true", help="write no file")
    arguments = parser.parse_args()
    result = measure(np.random.default_rng(7))
    text = json.dumps(result, indent=1)
    print(text)
    if not arguments.dry:
        _RESULT.write_text(text + "\n", encoding="utf-8")
    return int(any(result[name] > target for name, target in TARGETS.items()))


def measure(rng: Rng, tries: int = 15) -> dict[str, float]:
    """Best of several tries each, and their ratio to one step of the plain loop."""
    loop = _best(lambda: plain_loop(_REQUESTS), tries) / _REQUESTS
    summary = _best(_summary(rng), tries) / _REQUESTS
    record = asyncio.run(_recorder(rng, tries)) / _REQUESTS
    verdict = _best(_verdict(rng), tries)
    return {
        "loop_step_ns": round(loop * 1e9, 1),
        "record_us": round(record * 1e6, 3),
        "record_of_which_summary_us": round(summary * 1e6, 3),
        "record_in_loop_steps": round(record / loop, 1),
        "verdict_ms": round(verdict * 1e3, 2),
        "verdict_in_loop_steps": round(verdict / loop),
    }


def _best(work: Callable[[], object], tries: int) -> float:
    return min(timeit.repeat(work, timer=process_time, number=1, repeat=tries))


def _summary(rng: Rng) -> Callable[[], None]:
    seconds = rng.lognormal(-4.0, 0.6, _REQUESTS).tolist()
    stage = StageSummary("r", 0, 500)

    def record() -> None:
        for each in seconds:
            stage.record(Arm.CANDIDATE, None, each, 1234)

    return record


async def _recorder(rng: Rng, tries: int) -> float:
    """All that the gateway does for one answered request: noting it, and counting it later."""
    seconds = rng.lognormal(-4.0, 0.6, _REQUESTS).tolist()
    frame = Frame(Kind.RESPONSE, 1, b'{"predictions": [1]}', status=200, aux=1234, batch=0)
    body = b'{"dataframe_split": {"columns": ["a"], "data": [[1.0]]}}'
    link = ReplicaLink(ReplicaAddress("r", "/nowhere", "d" * 64), lambda *_: None)
    link.retire()
    best = float("inf")
    for _ in range(tries):
        recorder = Recorder(
            StageRoute("r", 0, "salt", "stable", "candidate", 500), 0.0, lambda: 0.0
        )
        started = process_time()
        for place, each in enumerate(seconds):
            # As in the gateway: some hundreds a second, so that reading labels is in its budget.
            began = 60.0 + place * 0.002
            recorder.note(Arm.CANDIDATE, None, began, began + each, link, frame, body)
            if place & 15 == 15:
                recorder.fold()
        recorder.fold()
        best = min(best, process_time() - started)
        await asyncio.sleep(0)
    return best


def _verdict(rng: Rng) -> Callable[[], object]:
    timeline, stages = Timeline(), []
    for number in range(100):
        # 100 different shares: the worst case, since stages of one share are pooled.
        stage = LiveStage(timeline, number, 0.01 + number * 0.005)
        arms = latency_arms(rng, 1000, 0.01 + number * 0.005, 1.0, 1.0)
        for arm in arms:
            arm.lone_errors = int(rng.binomial(arm.requests, 0.01))
            labels = rng.multinomial(arm.requests, (0.6, 0.3, 0.1)).tolist()
            arm.predictions = {label: n for label, n in zip("abc", labels, strict=True) if n}
        stage.add(*arms)
        stages.append(stage.total)
    evidence = Evidence(stages, timeline)
    guards: list[Guardrail] = [
        ErrorRate(),
        ErrorRate(0.5, 0.0, name="errors, tighter"),
        Latency(),
        Predictions(),
    ]
    return lambda: judge(evidence, guards, Confidence(), 5000)


if __name__ == "__main__":
    raise SystemExit(main())
