"""`python -m bench.split`: what a second version costs, and what makes one in a hundred slow.

Real gateways over real replicas of M1, in turns within one run. A closed loop takes the cost of a
split apart: one version on one replica, one on two, two versions 90/10 and 50/50, with the CPU of
each process and the requests that it got at once. An open loop at 60 % of what each one's closed
loop gave shows the tail, beside a replica that counts no live values and one without a model.
Writes `results/split.json`; exit code 1 when an answer was wrong.
"""

import argparse
import json
import os
import socket
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from bench.answers import Payload, http_request
from bench.load import Job, measure
from bench.machine import describe, noise_ms
from bench.models import BenchModel, prepare
from bench.scale_parts import ANSWER, DIGEST
from bench.scale_stand import Gateway, Stand, cpu_seconds, standing
from serinus.replica.protocol import Decoder, Format, Frame, Kind, encode
from serinus.traffic import EndpointRoutes, ReplicaAddress, RouteTable, ServedRoute

_RESULTS = Path(__file__).resolve().parent / "results" / "split.json"
_WORK = Path(__file__).parent / ".work"
_OPEN_CONNECTIONS = 256
_SHARE = 0.6
_WANTED_SPLIT, _WANTED_TAIL = 0.97, 3.0
Row = dict[str, float]


class Replica(NamedTuple):
    """One replica's process and address."""

    name: str
    path: str
    pid: int


class Side(NamedTuple):
    """One way to be served."""

    name: str
    gateway: Gateway
    payloads: list[Payload]
    #: Those that take part, with their shares of the requests; empty where nobody looks.
    replicas: list[tuple[Replica, float]]


def main() -> int:
    """Measure, show, write."""
    parser = argparse.ArgumentParser(prog="python -m bench.split", description=__doc__)
    parser.add_argument("--out", type=Path, default=_RESULTS, help="results file")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0, help="length of one window")
    parser.add_argument("--connections", type=int, default=64, help="of the closed loop")
    parser.add_argument("--full", action="store_true", help="three times the rounds")
    parser.add_argument(
        "--preempt", action="store_true", help="replicas under SCHED_OTHER, not SCHED_BATCH"
    )
    asked = parser.parse_args()
    asked.rounds *= 3 if asked.full else 1
    report: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": describe(),
        "connections": asked.connections,
        "rounds": asked.rounds,
        "seconds": asked.seconds,
        "preempt": asked.preempt,
        "noise_ms": [round(noise_ms(), 2)],
    }
    with (
        tempfile.TemporaryDirectory(prefix="srn-") as home,
        standing(Path(home), 1) as stand,
    ):
        model = prepare("M1", _WORK)
        found = [_replica(stand, model, name, asked) for name in ("a", "b")]
        quiet = _replica(stand, model, "uncounted", asked, live=False)
        report["closed"] = _closed(_divided(stand, model, found), asked)
        report["open"] = _open(_alone(stand, model, found[0], quiet), asked)
    report["noise_ms"].append(round(noise_ms(), 2))
    report["targets"] = _targets(report)
    asked.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    _show(report)
    return int(any(each["failed"] for part in ("closed", "open") for each in report[part].values()))


def _replica(
    stand: Stand, model: BenchModel, name: str, asked: argparse.Namespace, *, live: bool = True
) -> Replica:
    (name, path), pid = stand.model(model.path, name, live=live)
    if asked.preempt:
        # As the kernel treats everybody else: it breaks a gateway off when it wakes up.
        os.sched_setscheduler(pid, os.SCHED_OTHER, os.sched_param(0))
    return Replica(name, path, pid)


def _divided(stand: Stand, model: BenchModel, two: list[Replica]) -> list[Side]:
    """Against the first of these the others are held."""
    a, b = two
    asked = _asked(model)
    return [
        Side("one version, one replica", stand.serve(_table([(10_000, [a])])), asked, [(a, 1.0)]),
        Side(
            "one version, two replicas",
            stand.serve(_table([(10_000, [a, b])])),
            asked,
            [(a, 0.5), (b, 0.5)],
        ),
        Side(
            "two versions, 90/10",
            stand.serve(_table([(9_000, [a]), (1_000, [b])])),
            asked,
            [(a, 0.9), (b, 0.1)],
        ),
        Side(
            "two versions, 50/50",
            stand.serve(_table([(5_000, [a]), (5_000, [b])])),
            asked,
            [(a, 0.5), (b, 0.5)],
        ),
    ]


def _alone(stand: Stand, model: BenchModel, counted: Replica, quiet: Replica) -> list[Side]:
    """One version each; the last one has no model, and its tail is gateway, kernel, generator."""
    constant = Replica(*stand.replicas[0], pid=0)
    body = model.bodies[0]
    asked = [Payload(http_request("POST", _PATH, "127.0.0.1", body), body=ANSWER)]
    return [
        Side("M1", stand.serve(_table([(10_000, [counted])])), _asked(model), []),
        Side(
            "M1, no live values counted",
            stand.serve(_table([(10_000, [quiet])])),
            _asked(model),
            [],
        ),
        Side("no model", stand.serve(_table([(10_000, [constant])])), asked, []),
    ]


_PATH = "/serving-endpoints/e/invocations"


def _asked(model: BenchModel) -> list[Payload]:
    return [
        Payload(http_request("POST", _PATH, "127.0.0.1", body), predictions=answer)
        for body, answer in zip(model.bodies, model.answers, strict=True)
    ]


def _table(served: list[tuple[int, list[Replica]]]) -> RouteTable:
    routes = tuple(
        ServedRoute(
            f"v{at}",
            weight,
            tuple(ReplicaAddress(each.name, each.path, DIGEST) for each in replicas),
        )
        for at, (weight, replicas) in enumerate(served)
    )
    return RouteTable(1, (EndpointRoutes("e", routes),))


def _in_turns(
    sides: list[Side], rounds: int, window: Callable[[Side], Row]
) -> dict[str, list[Row]]:
    """Who goes first changes: what a first window warms up falls on all alike."""
    taken: dict[str, list[Row]] = {side.name: [] for side in sides}
    for number in range(rounds):
        for side in sides[:: 1 if number % 2 == 0 else -1]:
            taken[side.name].append(window(side))
    return taken


def _closed(sides: list[Side], asked: argparse.Namespace) -> dict[str, Row]:
    def window(side: Side) -> Row:
        before, batches = _cpu(side), _batches(side)
        job = Job("127.0.0.1", side.gateway.port, side.payloads, asked.connections, asked.seconds)
        load = measure(job)
        # One of them was asked by us.
        calls = [now - then - 1 for now, then in zip(_batches(side), batches, strict=True)]
        used = [
            (now - then) / load.answers * 1e6 for now, then in zip(_cpu(side), before, strict=True)
        ]
        generator = load.generator_cpu / load.rps * 1e6
        row = {
            "rps": load.rps,
            "gateway_us": used[0],
            "replicas_us": sum(used[1:]),
            "generator_us": generator,
            "cores": (sum(used) + generator) * load.rps / 1e6,
            "p50_ms": load.p50_ms,
            "p99_ms": load.p99_ms,
            "failed": load.failed,
        }
        for at, ((_, share), made) in enumerate(zip(side.replicas, calls, strict=True), 1):
            row[f"together_{at}"] = share * load.answers / max(made, 1)
        return row

    taken = _in_turns(sides, asked.rounds, window)
    first = taken[sides[0].name]
    for rows in taken.values():
        for row, one in zip(rows, first, strict=True):
            row["ratio"] = row["rps"] / one["rps"]
    return {name: _middle(rows) for name, rows in taken.items()}


def _open(sides: list[Side], asked: argparse.Namespace) -> dict[str, Row]:
    rates = {}
    for side in sides:
        job = Job("127.0.0.1", side.gateway.port, side.payloads, _OPEN_CONNECTIONS, asked.seconds)
        rates[side.name] = _SHARE * median(measure(job).rps for _ in range(3))

    def window(side: Side) -> Row:
        load = measure(
            Job(
                "127.0.0.1",
                side.gateway.port,
                side.payloads,
                _OPEN_CONNECTIONS,
                asked.seconds * 2,
                warmup=1.0,
                rate=rates[side.name],
            )
        )
        return {
            "rate": load.rate,
            "p50_ms": load.p50_ms,
            "p90_ms": load.p90_ms,
            "p99_ms": load.p99_ms,
            "max_ms": load.max_ms,
            "late_p99_ms": load.late_p99_ms,
            "ratio": load.p99_ms / max(load.p50_ms, 1e-9),
            "failed": load.failed,
        }

    taken = _in_turns(sides, asked.rounds, window)
    return {name: _middle(rows) for name, rows in taken.items()}


def _middle(rows: list[Row]) -> Row:
    """Medians, but all that failed."""
    found = {key: round(median(row[key] for row in rows), 4) for key in rows[0]}
    return found | {"failed": int(sum(row["failed"] for row in rows))}


def _cpu(side: Side) -> list[float]:
    return [side.gateway.cpu_s, *(cpu_seconds(each.pid) for each, _ in side.replicas)]


def _batches(side: Side) -> list[int]:
    """How many calls of its model each replica has made; to ask is one more."""
    return [_batch(each.path, side.payloads[0]) for each, _ in side.replicas]


def _batch(path: str, payload: Payload) -> int:
    body = payload.request.partition(b"\r\n\r\n")[2]
    decoder = Decoder()
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(60)
        peer.connect(path)
        peer.sendall(encode(Frame(Kind.REQUEST, 1, body, b"", Format.JSON)))
        while True:
            for frame in decoder.feed(peer.recv(1 << 16)):
                if frame.kind is Kind.RESPONSE:
                    return frame.batch


def _targets(report: dict[str, Any]) -> dict[str, Any]:
    split = report["closed"]["two versions, 90/10"]["ratio"]
    tail = report["open"]["M1"]["ratio"]
    return {
        "split": {"ratio": split, "at_least": _WANTED_SPLIT, "met": split >= _WANTED_SPLIT},
        "tail": {"ratio": tail, "at_most": _WANTED_TAIL, "met": tail <= _WANTED_TAIL},
    }


def _show(report: dict[str, Any]) -> None:
    console = Console(width=140)
    titles = {
        "closed": f"closed loop, {report['connections']} connections: against the first, and CPU",
        "open": f"open loop at {_SHARE:.0%} of each one's capacity: p99 ÷ p50",
    }
    for part, title in titles.items():
        rows = report[part]
        columns = list(dict.fromkeys(key for row in rows.values() for key in row))
        columns.remove("ratio")
        table = Table(title=title)
        for column in ("", "ratio", *columns):
            table.add_column(column, justify="right" if column else "left")
        for name, row in rows.items():
            cells = [f"{row[each]:,.4g}" if each in row else "" for each in columns]
            table.add_row(name, f"{row['ratio']:.3f}", *cells)
        console.print(table)
    for name, each in report["targets"].items():
        console.print(f"{name}: {each['ratio']:.3f}, {'met' if each['met'] else 'missed'}")
    console.print(f"a fixed loop took {report['noise_ms']} ms before and after")


if __name__ == "__main__":
    raise SystemExit(main())
