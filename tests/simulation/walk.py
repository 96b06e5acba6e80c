"""Walks through random histories: ``python -m tests.simulation.walk --seeds 100000 --from 0``.

A failing seed is printed with its history cut down to what it needs; with ``--keep`` that line is
added to ``corpus.txt``, which the suite always replays.
"""

import argparse
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from tests.simulation.history import History, replay, seeded, shorter
from tests.simulation.quiet import quiet

__all__ = ["CORPUS", "Failure", "corpus", "walk"]

CORPUS = Path(__file__).with_name("corpus.txt")


class Failure(AssertionError):
    """A history that went wrong, and why; ``line`` replays it."""

    def __init__(self, seed: int, history: History, error: BaseException) -> None:
        self.seed = seed
        self.line = shorter(history, type(error)).text()
        super().__init__(f"seed {seed}: {type(error).__name__}: {error}\n    {self.line}")


def corpus() -> list[str]:
    """Lines of histories that failed once."""
    lines = (line.split("#")[0].strip() for line in CORPUS.read_text().splitlines())
    return [line for line in lines if line]


def walk(seeds: Iterable[int], *, for_s: float | None = None) -> int:
    """Replay the history of each seed, for at most so long; how many; raises Failure."""
    began, count = time.monotonic(), 0
    for seed in seeds:
        if for_s is not None and count % 64 == 0 and time.monotonic() - began > for_s:
            break
        history = seeded(seed)
        try:
            replay(history)
        except Exception as error:
            raise Failure(seed, history, error) from error
        count += 1
    return count


def main() -> int:
    """Walk as told; 1 when a history failed."""
    parser = argparse.ArgumentParser(description="Walk through random histories.")
    parser.add_argument("--seeds", type=int, default=100_000)
    parser.add_argument("--from", type=int, default=0, dest="first")
    parser.add_argument("--keep", action="store_true", help="add a failure to the corpus")
    parser.add_argument("--on", action="store_true", help="go on after a failure")
    told = parser.parse_args()
    began, first, last, failures = time.monotonic(), told.first, told.first + told.seeds, 0
    with quiet():
        while first < last:
            try:
                first += walk(range(first, last))
            except Failure as failure:
                print(failure)
                failures += 1
                first = failure.seed + 1
                if told.keep:
                    with CORPUS.open("a") as file:
                        file.write(f"{failure.line}  # {str(failure).splitlines()[0]}\n")
                if not told.on:
                    break
    spent = time.monotonic() - began
    print(f"seeds {told.first} to {first - 1}: {failures} failures, {spent:.1f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
