"""`python -m bench.overload`: three times what a server can do, and long at what it can.

A model of some milliseconds that answers rows one by one (``SERINUS_MAX_BATCH=1``), so that it is
the limit, and neither the gateway nor the generator. Capacity is what a closed loop gets; then open
loops, whose latency counts from the moment a request was due: overload, a second of calm load after
it, and a soak at 70 %. Last, without a target, a model that costs next to nothing on a server as it
comes: there the gateway is what is overloaded. Exit code 0 when all of it was measured, whatever
the targets say.
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.latency import LoadResult
from bench.load import Job, measure
from bench.machine import describe, noise_ms
from bench.models import BenchModel
from bench.peers.models import case
from bench.processes import ProcessTree
from bench.servers import payloads, serving

_RESULTS = Path(__file__).resolve().parent / "results" / "overload.json"
_OVER, _SOAK = 3.0, 0.7
#: Requests that may wait, of which each is a connection of the generator; more are refused.
_QUEUE, _CALLERS = 64, 512
_CALM_S = 1.0


def main() -> int:
    """Measure, show, write."""
    parser = argparse.ArgumentParser(prog="python -m bench.overload", description=main.__doc__)
    parser.add_argument("--out", type=Path, default=_RESULTS, help="results file")
    parser.add_argument("--seconds", type=float, default=60.0, help="of overload")
    parser.add_argument("--soak", type=float, default=600.0, help="seconds at 70 %% of capacity")
    asked = parser.parse_args()
    machine, at, noise = describe(), datetime.now(UTC), [noise_ms()]
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        slow, quick = (case(name, work).model for name in ("M2", "M1"))
        settings = {"SERINUS_MAX_BATCH": "1", "SERINUS_QUEUE_LIMIT": str(_QUEUE)}
        with serving(slow, work / "slow", settings) as tree:
            found = _overload(tree, slow, asked.seconds)
            found |= _soak(tree, slow, asked.soak, found["capacity_per_s"])
        with serving(quick, work / "quick", {}) as tree:
            found["gateway"] = _overload(tree, quick, asked.seconds / 3)
    noise.append(noise_ms())
    report = {
        "date": at.isoformat(timespec="seconds"),
        "machine": machine,
        "noise_ms": [round(value, 2) for value in noise],
        **found,
    }
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    for each in (found, found["gateway"]):
        told = {name: each[name] for name in each if name not in ("runs", "gateway")}
        print(json.dumps(told, indent=1))
    return 0


def _overload(tree: ProcessTree, model: BenchModel, seconds: float) -> dict[str, Any]:
    closed = Job("127.0.0.1", tree.port, payloads(model), 16, 5.0, warmup=1.0)
    capacities = [measure(closed)]
    capacity = capacities[0].rps
    over = replace(
        closed, connections=_CALLERS, seconds=seconds, rate=_OVER * capacity, warmup=2.0, drain=0.5
    )
    flooded = measure(over)
    recovery = _recovery(tree, model, capacity)
    # The machine may have changed its speed: what it can do is the mean of before and after.
    capacities.append(measure(closed))
    capacity = sum(each.rps for each in capacities) / 2
    # Requests still under way at the end were cut off by the generator, not by the server.
    broken = {
        name: count
        for name, count in flooded.errors.items()
        if name not in ("status 429", "unanswered")
    }
    return {
        "capacity_per_s": round(capacity, 1),
        "offered_per_s": round(over.rate, 1),
        "goodput": round(flooded.rps / capacity, 3),
        "goodput_target": 0.9,
        "refused_p50_ms": round(flooded.refused_p50_ms, 1),
        "refused_p99_ms": round(flooded.refused_p99_ms, 1),
        "refused_target_ms": 50,
        "accepted_p50_ms": round(flooded.p50_ms, 1),
        "accepted_p99_ms": round(flooded.p99_ms, 1),
        "generator_late_p99_ms": round(flooded.late_p99_ms, 1),
        "generator_cpu": round(flooded.generator_cpu, 2),
        "broken": broken,
        "wrong": flooded.wrong,
        "recovery_s": recovery,
        "recovery_target_s": 5,
        "runs": [asdict(each) for each in (*capacities, flooded)],
    }


def _recovery(tree: ProcessTree, model: BenchModel, capacity: float) -> float | None:
    """Seconds until a whole second of load at half the capacity is answered, none refused."""
    began = time.monotonic()
    calm = Job("127.0.0.1", tree.port, payloads(model), 16, _CALM_S, warmup=0.0, rate=capacity / 2)
    while time.monotonic() - began < 60:
        since = time.monotonic() - began
        if not measure(calm).failed:
            return round(since, 2)
    return None


def _soak(
    tree: ProcessTree, model: BenchModel, seconds: float, capacity: float
) -> dict[str, object]:
    """70 % of capacity for long: errors, and what the memory does after the first fifth."""
    rate = _SOAK * capacity
    parts = 5
    memory: list[float] = []
    results: list[LoadResult] = []
    for _ in range(parts):
        job = Job("127.0.0.1", tree.port, payloads(model), 64, seconds / parts, rate=rate)
        results.append(measure(job))
        memory.append(sum(each.pss for each in tree.memory()))
    return {
        "soak_s": seconds,
        "soak_per_s": round(rate, 1),
        "soak_answers": sum(each.answers for each in results),
        "soak_errors": sum(each.failed for each in results),
        "soak_p99_ms": [round(each.p99_ms, 1) for each in results],
        "soak_memory_mib": [round(each, 1) for each in memory],
    }


if __name__ == "__main__":
    sys.exit(main())
