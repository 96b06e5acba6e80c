"""Walks through random histories: ``python -m tests.simulation.walk --seeds 100000 --from 0``.

A failing seed is printed with its history cut down to what it needs; with ``--keep`` that line is
added to ``corpus.txt``, which the suite always replays.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

from tests.simulation.history import replay, seeded, shorter
from tests.simulation.quiet import quiet

__all__ = ["CORPUS", "Failure", "Walked", "corpus", "walk", "walk_on_all_cores"]

CORPUS = Path(__file__).with_name("corpus.txt")


@dataclass(frozen=True, slots=True)
class Failure:
    """A history that went wrong, and why; ``line`` replays it."""

    seed: int
    line: str
    why: str

    def __str__(self) -> str:
        return f"seed {self.seed}: {self.why}\n    {self.line}"


@dataclass(slots=True)
class Walked:
    """How many histories held, and those that did not."""

    count: int = 0
    failures: list[Failure] = field(default_factory=list)


def corpus() -> list[str]:
    """Lines of histories that failed once."""
    lines = (line.split("#")[0].strip() for line in CORPUS.read_text().splitlines())
    return [line for line in lines if line]


def walk(seeds: Iterable[int], *, on: bool = False) -> Walked:
    """Replay the history of each seed; ends at a failure unless ``on``."""
    walked = Walked()
    with quiet():
        for seed in seeds:
            history = seeded(seed)
            try:
                replay(history)
            except Exception as error:  # noqa: BLE001 - whatever it was, this history shows it
                line = shorter(history, type(error)).text()
                walked.failures.append(Failure(seed, line, f"{type(error).__name__}: {error}"))
                if not on:
                    break
            else:
                walked.count += 1
    return walked


def walk_on_all_cores(seeds: range, *, on: bool = False) -> Walked:
    """The same on every core at once, each with its share of the seeds."""
    cores = len(getattr(os, "sched_getaffinity", lambda _: ())(0)) or os.cpu_count() or 1
    # Not forked: whoever walks may have threads.
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:
        shares = [pool.submit(walk, seeds[core::cores], on=on) for core in range(cores)]
        found = [share.result() for share in shares]
    failures = sorted((f for each in found for f in each.failures), key=lambda each: each.seed)
    return Walked(sum(each.count for each in found), failures)


def main() -> int:
    """Walk as told; 1 when a history failed."""
    parser = argparse.ArgumentParser(description="Walk through random histories.")
    parser.add_argument("--seeds", type=int, default=100_000)
    parser.add_argument("--from", type=int, default=0, dest="first")
    parser.add_argument("--keep", action="store_true", help="add failures to the corpus")
    parser.add_argument("--on", action="store_true", help="go on after a failure")
    told = parser.parse_args()
    began = time.monotonic()
    walked = walk_on_all_cores(range(told.first, told.first + told.seeds), on=told.on)
    for failure in walked.failures:
        print(failure)
        if told.keep:
            with CORPUS.open("a") as file:
                file.write(f"{failure.line}  # seed {failure.seed}: {failure.why}\n")
    spent = time.monotonic() - began
    print(f"{walked.count} histories held, {len(walked.failures)} did not, {spent:.1f} s")
    return 1 if walked.failures else 0


if __name__ == "__main__":
    sys.exit(main())
