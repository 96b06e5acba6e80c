"""`python -m bench.access`: what tokens, rights, rate limits and metrics cost a request.

Two servers of one model, one open and one that asks for a token, counts against limits that are
never reached and has its metrics fetched every second, are asked in turns, so that what else the
machine does falls on both. (Counting for the metrics is never off; what it takes is in the
instruction counts.) Exit code 0 when everything was measured and every answer was right, whatever
the ratio says.
"""

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench.answers import Payload, http_request
from bench.load import Job, measure
from bench.machine import describe, noise_ms
from bench.models import BenchModel, prepare
from bench.processes import ProcessTree, free_port, limited_environment

_RESULTS = Path(__file__).resolve().parent / "results" / "access.json"
_SERINUS = str(Path(sys.executable).with_name("serinus"))
#: Share of throughput that access control, limits and metrics may cost together.
_TARGET = 0.08
_SCRAPE_S = 1.0
_NEVER = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Turn:
    """One window of load on one server."""

    requests_per_s: float
    p50_ms: float
    #: Of all gateways, per answer.
    gateway_us: float
    errors: int


def main() -> int:
    """Measure, show, write."""
    parser = argparse.ArgumentParser(prog="python -m bench.access", description=main.__doc__)
    parser.add_argument("--out", type=Path, default=_RESULTS, help="results file")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=4.0, help="length of one window")
    parser.add_argument("--connections", type=int, default=16)
    asked = parser.parse_args()
    machine, at, noise = describe(), datetime.now(UTC), [noise_ms()]
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        model = prepare("M1", Path(directory))
        open_ = stack.enter_context(_serving(model, Path(directory), token=""))
        token = _token(Path(directory))
        guarded = stack.enter_context(_serving(model, Path(directory), token=token))
        _limit(guarded, token)
        turns = []
        for number in range(asked.rounds):
            # Who goes first changes: what a first window warms up falls on both alike.
            pair = {"": open_, token: guarded}
            order = list(pair) if number % 2 else list(reversed(pair))
            found = {}
            for each in order:
                with _scraped(pair[each], each) if each else nullcontext():
                    found[each] = _turn(pair[each], model, each, asked)
            turns.append((found[""], found[token]))
    noise.append(noise_ms())
    report = {
        "date": at.isoformat(timespec="seconds"),
        "machine": machine,
        "noise_ms": [round(value, 2) for value in noise],
        **_compared(turns),
        "turns": [[asdict(each) for each in pair] for pair in turns],
    }
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(_compared(turns), indent=1))
    return 1 if any(each.errors for pair in turns for each in pair) else 0


def _compared(turns: list[tuple[Turn, Turn]]) -> dict[str, object]:
    """Medians over the rounds, of ratios within one round."""
    kept = statistics.median(two.requests_per_s / one.requests_per_s for one, two in turns)
    return {
        "throughput_lost": round(1 - kept, 4),
        "target": _TARGET,
        "met": 1 - kept <= _TARGET,
        "gateway_us_open": round(statistics.median(one.gateway_us for one, _ in turns), 1),
        "gateway_us_guarded": round(statistics.median(two.gateway_us for _, two in turns), 1),
        "gateway_us_more": round(
            statistics.median(two.gateway_us - one.gateway_us for one, two in turns), 2
        ),
    }


def _home(work: Path, name: str) -> Path:
    return work / name / "home"


def _token(work: Path) -> str:
    """An administrator's, made before its server runs."""
    home = _home(work, "guarded")
    home.parent.mkdir(parents=True)
    command = [_SERINUS, "token", "create", "--name", "bench", "--admin", "--home", str(home)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=home.parent)
    return done.stdout.strip()


@contextmanager
def _serving(model: BenchModel, work: Path, *, token: str) -> Iterator[ProcessTree]:
    home, port = _home(work, "guarded" if token else "open"), free_port()
    home.parent.mkdir(parents=True, exist_ok=True)
    extra = {"MLFLOW_TRACKING_URI": f"sqlite:///{work}/mlflow.db", "PATH": os.environ["PATH"]}
    command = [_SERINUS, "serve", "--port", str(port), "--home", str(home)]
    tree = ProcessTree(
        [*command, "--model", str(model.path), *(["--auth"] if token else [])],
        env=limited_environment(extra),
        cwd=home.parent,
        log=home.parent / "output.log",
        port=port,
    )
    try:
        tree.wait_ready(_payloads(model, token)[0], 120.0)
        yield tree
    finally:
        tree.stop()


def _payloads(model: BenchModel, token: str) -> list[Payload]:
    host = "127.0.0.1"
    if token:
        host += f"\r\nAuthorization: Bearer {token}"
    return [
        Payload(http_request("POST", "/invocations", host, body), predictions=answer)
        for body, answer in zip(model.bodies, model.answers, strict=True)
    ]


def _limit(tree: ProcessTree, token: str) -> None:
    """Limits of both kinds, far above what is asked."""
    limits = [
        {"calls": _NEVER, "key": key, "renewal_period": "minute"} for key in ("endpoint", "user")
    ]
    connection = http.client.HTTPConnection("127.0.0.1", tree.port)
    connection.request(
        "PUT",
        "/api/2.0/serving-endpoints/m1/rate-limits",
        json.dumps({"rate_limits": limits}),
        {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    answer = connection.getresponse()
    if answer.status != 200:
        raise RuntimeError(f"the limits were refused: {answer.read()!r}")


@contextmanager
def _scraped(tree: ProcessTree, token: str) -> Iterator[None]:
    """As long as it lasts, the metrics are fetched as Prometheus does; raises if they are not."""
    over, statuses = threading.Event(), list[int]()

    def scrape() -> None:
        while not over.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", tree.port, timeout=30)
            connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {token}"})
            answer = connection.getresponse()
            answer.read()
            statuses.append(answer.status)
            connection.close()
            over.wait(_SCRAPE_S)

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    if not statuses or set(statuses) != {200}:
        raise RuntimeError(f"the metrics were not fetched: {statuses}")


def _turn(tree: ProcessTree, model: BenchModel, token: str, asked: argparse.Namespace) -> Turn:
    gateways = {pid for pid, role in tree.roles().items() if role == "gateway"}
    before = tree.cpu_seconds()
    job = Job("127.0.0.1", tree.port, _payloads(model, token), asked.connections, asked.seconds)
    load = measure(job)
    after = tree.cpu_seconds()
    used = sum(after[pid] - before.get(pid, 0.0) for pid in gateways & after.keys())
    return Turn(
        round(load.rps, 1),
        load.p50_ms,
        round(used / max(load.answers, 1) * 1e6, 2),
        load.wrong + sum(load.errors.values()),
    )


if __name__ == "__main__":
    sys.exit(main())
