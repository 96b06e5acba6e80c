"""Asks an endpoint about real flights from several threads, and keeps the score per version.

Counts every failure and hides none; never retries by itself.
"""

import itertools
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

from databricks.sdk import WorkspaceClient
from databricks.sdk.core import Config

from serinus.cli.demo.data import Flights, records
from serinus.cli.demo.models import NAME, auc
from serinus.errors import described

__all__ = [
    "CLIENTS",
    "Ask",
    "Batch",
    "Report",
    "Tally",
    "batches",
    "flowing",
    "sdk_ask",
    "workspace",
]

#: Takes records; gives the name of the version that answered and the probability of each row.
Ask = Callable[[list[dict[str, Any]]], tuple[str, list[float]]]

#: Clients that ask at once. More than cores would only measure how they wait for each other.
CLIENTS = 2
_MOST_ROWS = 20
#: Values kept per version for AUC and latency: a demo left running all day must not grow.
_KEPT = 50_000
#: Seconds between two requests of a thread once the asked-for number has been sent.
_LEISURE_S = 0.2
#: Failed requests after which there is no point in going on: a dead server would take hours.
_TOO_MANY = 20


@dataclass(frozen=True, slots=True)
class Batch:
    """The rows of one request, with the truth about each."""

    rows: list[dict[str, Any]]
    late: list[int]


@dataclass(frozen=True, slots=True)
class Report:
    """What one version has done so far; latencies in milliseconds as the client saw them."""

    name: str
    requests: int
    rows: int
    auc: float | None
    p50_ms: float | None
    p99_ms: float | None


@dataclass(slots=True)
class _Score:
    requests: int = 0
    rows: int = 0
    late: deque[int] = field(default_factory=lambda: deque(maxlen=_KEPT))
    scores: deque[float] = field(default_factory=lambda: deque(maxlen=_KEPT))
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=_KEPT))


class Tally:
    """Counts what came back, per version. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._scores: dict[str, _Score] = {}
        self._failures = 0
        self._first_failure = ""

    def answered(self, name: str, batch: Batch, scores: list[float], seconds: float) -> None:
        """One request was answered by that version."""
        with self._lock:
            score = self._scores.setdefault(name, _Score())
            score.requests += 1
            score.rows += len(scores)
            score.late.extend(batch.late)
            score.scores.extend(scores)
            score.seconds.append(seconds)

    def failed(self, reason: str) -> None:
        """One request got no usable answer."""
        with self._lock:
            self._failures += 1
            self._first_failure = self._first_failure or reason

    @property
    def failures(self) -> int:
        """Requests without a usable answer."""
        return self._failures

    @property
    def first_failure(self) -> str:
        """What the first failed request said."""
        return self._first_failure

    @property
    def total(self) -> int:
        """Requests that are over, failed ones included."""
        with self._lock:
            return self._failures + sum(score.requests for score in self._scores.values())

    def reports(self) -> dict[str, Report]:
        """A report per version that has answered."""
        with self._lock:
            kept = {
                name: (score.requests, score.rows, [*score.late], [*score.scores], [*score.seconds])
                for name, score in self._scores.items()
            }
        return {
            name: Report(
                name,
                requests,
                rows,
                auc(late, scores) if len(set(late)) == 2 else None,
                _quantile_ms(seconds, 0.50),
                _quantile_ms(seconds, 0.99),
            )
            for name, (requests, rows, late, scores, seconds) in kept.items()
        }


def batches(flights: Flights, random: Random) -> list[Batch]:
    """The held-out flights, cut into requests of 1 to 20 rows."""
    rows, late = records(flights.test), [int(each) for each in flights.test_late]
    cut, at = [], 0
    while at < len(rows):
        end = at + random.randint(1, _MOST_ROWS)
        cut.append(Batch(rows[at:end], late[at:end]))
        at = end
    return cut


def workspace(url: str) -> WorkspaceClient:
    """The unmodified Databricks SDK, pointed at Serinus and at nothing this machine configures."""
    return WorkspaceClient(
        config=Config(
            host=url,
            token="demo",  # noqa: S106 - the SDK wants one, this server asks for none
            auth_type="pat",
            http_timeout_seconds=30,
            retry_timeout_seconds=60,
        )
    )


def sdk_ask(url: str) -> Ask:
    """Asks by ``serving_endpoints.query``, with a client of its own."""
    client = workspace(url)

    def ask(rows: list[dict[str, Any]]) -> tuple[str, list[float]]:
        answer = client.serving_endpoints.query(NAME, dataframe_records=rows)
        # predict_proba gives (punctual, late) per row.
        return str(answer.served_model_name), [float(row[1]) for row in answer.predictions or []]

    return ask


@contextmanager
def flowing(
    new_ask: Callable[[], Ask],
    cut: list[Batch],
    tally: Tally,
    *,
    requests: int,
    threads: int = CLIENTS,
) -> Iterator[threading.Event]:
    """Send ``requests`` as fast as answers come, then go on leisurely until the block is left.

    Yields an event that is set once ``requests`` are over, or so many failed that it is enough.
    """
    numbers, stop, enough = itertools.count(), threading.Event(), threading.Event()

    def work() -> None:
        try:
            ask = new_ask()
        except Exception as error:  # noqa: BLE001 - a client that can't be made asks nothing
            tally.failed(described(error))
            enough.set()
            return
        while not stop.is_set():
            number = next(numbers)
            if tally.total >= requests or tally.failures >= _TOO_MANY:
                enough.set()
            if enough.is_set() or number >= requests:
                stop.wait(_LEISURE_S)
            if not stop.is_set():
                _send(ask, cut[number % len(cut)], tally)

    workers = [threading.Thread(target=work, daemon=True) for _ in range(threads)]
    for worker in workers:
        worker.start()
    try:
        yield enough
    finally:
        stop.set()
        for worker in workers:
            worker.join()


def _send(ask: Ask, batch: Batch, tally: Tally) -> None:
    started = time.perf_counter()
    try:
        name, scores = ask(batch.rows)
    except Exception as error:  # noqa: BLE001 - whatever went wrong, it is a failed request
        tally.failed(described(error))
        return
    if len(scores) == len(batch.rows):
        tally.answered(name, batch, scores, time.perf_counter() - started)
    else:
        tally.failed(f"{name} gave {len(scores)} predictions for {len(batch.rows)} rows")


def _quantile_ms(seconds: list[float], share: float) -> float | None:
    if not seconds:
        return None
    return sorted(seconds)[math.ceil(share * len(seconds)) - 1] * 1000
