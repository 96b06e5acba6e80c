"""`python -m bench.calibrate`: does the evidence keep its promises? Seeded simulation, tables.

False alarms under nulls, like with like behind queues, requests until a regression is found or
safety proved (against the published figures), times to all traffic, others' rules on the same
rollouts. Writes `results/calibration.json`, and from it the tables and the picture of
docs/why/evidence.md. `--quick` has fewer rollouts and writes nothing. Exit code 1 when a
false-alarm rate is significantly above its level.
"""

import argparse
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.clusters import clusters
from bench.detection import errors_found, journeys, safety_proved, slowness_found
from bench.evidence_page import CALIBRATION, all_results, write_page
from bench.evidence_tables import TABLES, Results, cells
from bench.false_alarms import false_alarms, latency_nulls
from bench.like_with_like import ramps, study
from bench.rates import Rate
from bench.rules import fates
from bench.stalls import stalls
from bench.traces import Rng, Size
from bench.whole_loop import gates

RESULT = CALIBRATION
_SEED = 20_240_117

QUICK = Size(cheap=1000, detection=300, latency=30, ramps=6, queues=6, gates=10)
FULL = Size(cheap=10_000, detection=2000, latency=120, ramps=24, queues=30, gates=200)

#: One section is one or more tables; sections run beside each other, each from its own seed.
SECTIONS: dict[str, Callable[[Rng, Size], Iterable[Any]]] = {
    "false_alarms": lambda rng, size: false_alarms(rng, size),
    "latency_nulls": lambda rng, size: latency_nulls(rng, size.cheap),
    "stalls": lambda rng, size: stalls(rng, size.gates * 2),
    "clusters": lambda rng, size: clusters(rng, size.cheap),
    "gates": lambda rng, size: gates(rng, size.cheap, size.gates),
    "queues": lambda rng, size: study(rng, size.queues),
    "queue_ramps": lambda rng, size: ramps(rng, size.queues),
    "detection": lambda rng, size: chain(
        errors_found(rng, size.detection), safety_proved(rng, size.detection)
    ),
    "slowness": lambda rng, size: slowness_found(rng, max(size.latency // 3, 20)),
    "journeys": lambda rng, size: journeys(rng, size.ramps),
    "rules": lambda rng, size: fates(rng, size.detection),
}


@dataclass(frozen=True)
class _Task:
    section: str
    seed: int
    size: Size

    def __call__(self) -> list[dict[str, Any]]:
        # Of the name too, so that one section alone gives what it gives among all.
        rng = np.random.default_rng([self.seed, zlib.crc32(self.section.encode())])
        return [_row(each) for each in SECTIONS[self.section](rng, self.size)]


def main() -> int:
    """Simulate, print, keep, judge."""
    parser = argparse.ArgumentParser(prog="python -m bench.calibrate", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rollouts, nothing written")
    parser.add_argument("--seed", type=int, default=_SEED)
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--only", nargs="*", choices=SECTIONS, help="these sections alone")
    arguments = parser.parse_args()
    size = QUICK if arguments.quick else FULL
    results: Results = {}
    for section, rows in simulate(
        arguments.only or list(SECTIONS), arguments.seed, size, arguments.jobs
    ):
        results[section] = rows
        show(section, results)
        if not arguments.quick:
            keep(section, rows, arguments.seed)
    return int(any(row.get("broken") for rows in results.values() for row in rows))


def simulate(
    sections: list[str], seed: int, size: Size, jobs: int
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Rows by section, in this order, as soon as they are there."""
    tasks = [_Task(section, seed, size) for section in sections]
    with ProcessPoolExecutor(jobs) as pool:
        yield from zip(sections, pool.map(_run, tasks), strict=True)


def keep(section: str, rows: list[dict[str, Any]], seed: int) -> None:
    """Write one section to the results, and the page again once all are there."""
    kept = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}
    kept |= {"command": "python -m bench.calibrate", "seed": seed}
    kept["sections"] = kept.get("sections", {}) | {section: rows}
    RESULT.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    if set(kept["sections"]) >= set(SECTIONS):
        write_page(all_results())


def _run(task: _Task) -> list[dict[str, Any]]:
    return task()


def _row(found: Any) -> dict[str, Any]:
    row = asdict(found)
    if isinstance(found, Rate):
        low, high = found.interval()
        row |= {"low": low, "high": high, "broken": found.broken}
    if "cell" in row:
        row |= row.pop("cell")
    if hasattr(found, "behind"):
        row["behind"] = found.behind
    # JSON has no infinity.
    return {
        key: None if isinstance(value, float) and not np.isfinite(value) else value
        for key, value in row.items()
    }


def show(section: str, results: Results) -> None:
    """The tables of the page that this section completes, on the terminal."""
    console = Console(width=150)
    for name, table in TABLES.items():
        if section in table.sections and set(table.sections) <= set(results):
            shown = Table(*table.header, title=name)
            for row in cells(table, results):
                shown.add_row(*row)
            console.print(shown)


if __name__ == "__main__":
    raise SystemExit(main())
