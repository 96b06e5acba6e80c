"""`python -m bench.instructions.times`: what choosing a version and noting an answer take, in
microseconds beside a fixed loop, and whether that is within 2 and 5. Writes
`results/gateway_speed.json`.
"""

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import process_time

from bench.instructions.gateway import paths
from bench.machine import plain_loop

_RESULT = Path(__file__).parents[1] / "results" / "gateway_speed.json"
_N = 2000
_ROUNDS = 15
#: Microseconds.
TARGETS = {"choice by split": 2.0, "choice by unit": 2.0, "recording": 5.0}


def main() -> int:
    """Measure in turns, take the best of each, show, write; 1 when a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.instructions.times", description=__doc__)
    parser.add_argument("--dry", action="store_true", help="write no file")
    asked = parser.parse_args()
    ready = {path.name.partition(".")[2]: path.ready for path in paths()}
    works = {"fixed loop": lambda n: partial(plain_loop, n)} | {
        name: ready[name] for name in TARGETS
    }
    best = dict.fromkeys(works, float("inf"))
    for _ in range(_ROUNDS):
        for name, make in works.items():
            best[name] = min(best[name], _seconds(make(_N)))
    step = best.pop("fixed loop") / _N
    found = {
        "loop_step_ns": round(step * 1e9, 1),
        **{
            name: {
                "us": round(took / _N * 1e6, 3),
                "loop_steps": round(took / _N / step, 1),
                "target_us": TARGETS[name],
            }
            for name, took in best.items()
        },
    }
    text = json.dumps(found, indent=1)
    print(text)
    if not asked.dry:
        _RESULT.write_text(text + "\n", encoding="utf-8")
    return int(any(took / _N * 1e6 > TARGETS[name] for name, took in best.items()))


def _seconds(work: Callable[[], object]) -> float:
    began = process_time()
    work()
    return process_time() - began


def _loop(n: int) -> Callable[[], object]:
    return partial(plain_loop, n)


if __name__ == "__main__":
    raise SystemExit(main())
