"""`python -m bench.scale`: what one machine's gateway costs by the number of endpoints, versions,
connections and rows, and the controller by the number of endpoints.

Of each number one server, all of them running, one loaded at a time, in turns; of each figure the
median of the rounds. Writes `results/scale.json` and from it the page and plots of
docs/why/scale.md. Exit code 1 when a cost grows faster than linear, idle endpoints cost CPU or
an answer was wrong.
"""

import argparse
import json
import logging
import resource
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from bench.answers import Payload, http_request
from bench.latency import LoadResult
from bench.load import Job, measure
from bench.machine import describe, noise_ms
from bench.models import prepare
from bench.processes import ProcessTree, free_port, limited_environment
from bench.rollout_loop import Small
from bench.scale_growth import LINEAR, growths, idle_excess
from bench.scale_page import COSTS, RESULTS, write_page
from bench.scale_parts import ANSWER
from bench.scale_stand import Gateway, Stand, cpu_seconds, standing

_WORK = Path(__file__).parent / ".work"
ENDPOINTS = (1, 10, 100, 500)
VERSIONS = (1, 2, 4, 8, 16)
CONNECTIONS = (1, 10, 100, 1_000, 10_000)
ROWS = (1, 10, 100, 1_000, 10_000)
#: Connections that ask in turns while others are idle; and of one that sends many rows.
_ASKING = 32
_REPLICAS = 4

Points = list[dict[str, Any]]


class Wrong(Exception):
    """An answer was not the right one."""


def main() -> int:
    """Measure, show, write."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--out", type=Path, default=RESULTS, help="results file")
    parser.add_argument("--full", action="store_true", help="7 rounds of 4 seconds, longer idling")
    parser.add_argument("--only", default="", help="some of " + ", ".join(_SECTIONS))
    asked = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    pace = (7, 4.0, 20.0) if asked.full else (3, 1.5, 6.0)
    names = asked.only.split(",") if asked.only else list(_SECTIONS)
    report: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": describe(),
        "noise_ms": [round(noise_ms(), 2)],
        "sections": {},
    }
    for name in names:
        with (
            tempfile.TemporaryDirectory(prefix="srn-") as place,
            standing(Path(place), _REPLICAS) as stand,
        ):
            report["sections"][name] = _SECTIONS[name](stand, *pace)
        print(f"{name}: {json.dumps(report['sections'][name])}", flush=True)
    report["noise_ms"].append(round(noise_ms(), 2))
    found = growths(report["sections"], COSTS)
    report["growth"] = [asdict(each) | {"linear": each.linear} for each in found]
    report["idle"] = idle_excess(report["sections"])
    asked.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if asked.out == RESULTS and not asked.only:
        write_page(report)
    return _say(report)


def _say(report: dict[str, Any]) -> int:
    for each in report["growth"]:
        print(
            f"{each['section']:<13}{COSTS[each['cost']]:<40}slope {each['overall']:5.2f}, "
            f"at the end {each['at_the_end']:5.2f}{'' if each['linear'] else '  TOO STEEP'}"
        )
    for each in report["idle"]:
        print(f"{each['n']} idle {each['section']}: {each['percent_more']:+.2f} % of a core")
    steep = [each for each in report["growth"] if not each["linear"]]
    told = f"nothing grows faster than linear (slopes up to {LINEAR})"
    print(f"{len(steep)} costs grow faster than linear" if steep else told)
    return int(bool(steep) or not all(each["met"] for each in report["idle"]))


def _payloads(endpoints: int) -> list[Payload]:
    body = prepare("M1", _WORK).bodies[0]
    return [
        Payload(
            http_request("POST", f"/serving-endpoints/e{at}/invocations", "127.0.0.1", body),
            body=ANSWER,
        )
        for at in range(endpoints)
    ]


def _ask(port: int, payloads: list[Payload], connections: int, seconds: float) -> LoadResult:
    load = measure(Job("127.0.0.1", port, payloads, connections, seconds, warmup=0.3))
    if load.wrong or load.errors:
        raise Wrong(f"{load.wrong} wrong, {load.errors}, as {load.wrong_example!r}")
    return load


def _idle(gateways: Sequence[Gateway], stand: Stand, seconds: float) -> tuple[list[float], float]:
    """Percent of a core of each gateway, and of all replicas, while nobody asks."""
    time.sleep(1.0)
    before = [each.cpu_s for each in gateways]
    replicas = stand.replica_cpu_s
    time.sleep(seconds)
    percent = [
        (each.cpu_s - was) / seconds * 100 for each, was in zip(gateways, before, strict=True)
    ]
    return percent, (stand.replica_cpu_s - replicas) / seconds * 100


def _by_turns(
    gateways: dict[int, Gateway], ask: Callable[[int, Gateway], LoadResult], rounds: int
) -> dict[int, dict[str, float]]:
    """Medians over the rounds of what load found, and of the gateway's CPU for an answer."""
    taken: dict[int, list[dict[str, float]]] = {n: [] for n in gateways}
    for number in range(rounds):
        order = list(gateways) if number % 2 else list(reversed(gateways))
        for n in order:
            gateway = gateways[n]
            before = gateway.cpu_s
            load = ask(n, gateway)
            used = gateway.cpu_s - before
            taken[n].append(
                {
                    "requests_per_s": load.rps,
                    "p50_ms": load.p50_ms,
                    "p99_ms": load.p99_ms,
                    "gateway_us": used / max(load.answers, 1) * 1e6,
                }
            )
    return {
        n: {key: round(statistics.median(each[key] for each in some), 3) for key in some[0]}
        for n, some in taken.items()
    }


def by_endpoints(stand: Stand, rounds: int, seconds: float, idle: float) -> Points:
    """One version each; requests go to all of them in turn."""
    return _tables(stand, {n: (n, 1) for n in ENDPOINTS}, rounds, seconds, idle)


def by_versions(stand: Stand, rounds: int, seconds: float, idle: float) -> Points:
    """One endpoint whose split divides requests between so many."""
    return _tables(stand, {n: (1, n) for n in VERSIONS}, rounds, seconds, idle)


def _tables(
    stand: Stand, sizes: dict[int, tuple[int, int]], rounds: int, seconds: float, idle: float
) -> Points:
    gateways = {n: stand.gateway(*size) for n, size in sizes.items()}
    percent, replicas = _idle(list(gateways.values()), stand, idle)
    memory = {n: gateway.memory_mb for n, gateway in gateways.items()}
    loads = _by_turns(
        gateways, lambda n, gw: _ask(gw.port, _payloads(sizes[n][0]), _ASKING, seconds), rounds
    )
    return [
        {
            "n": n,
            **loads[n],
            "memory_mb": round(memory[n], 1),
            "applied_ms": round(gateways[n].applied_s * 1e3, 2),
            "idle_percent": round(used, 4),
            "replicas_idle_percent": round(replicas, 4),
        }
        for n, used in zip(gateways, percent, strict=True)
    ]


def by_connections(stand: Stand, rounds: int, seconds: float, idle: float) -> Points:
    """So many that are open and idle, while a few others ask."""
    gateways = {n: stand.gateway(1) for n in CONNECTIONS}
    held: list[socket.socket] = []
    try:
        for n, gateway in gateways.items():
            held += [socket.create_connection(("127.0.0.1", gateway.port), 30) for _ in range(n)]
        percent, _ = _idle(list(gateways.values()), stand, idle)
        memory = {n: gateway.memory_mb for n, gateway in gateways.items()}
        loads = _by_turns(
            gateways, lambda _, gw: _ask(gw.port, _payloads(1), _ASKING, seconds), rounds
        )
    finally:
        for each in held:
            each.close()
    return [
        {"n": n, **loads[n], "memory_mb": round(memory[n], 1), "idle_percent": round(used, 4)}
        for n, used in zip(gateways, percent, strict=True)
    ]


def by_rows(stand: Stand, rounds: int, seconds: float, _idle: float) -> Points:
    """One connection that sends so many rows of 30 numbers to a real model."""
    model = prepare("M1", _WORK)
    replica, pid = stand.model(model.path)
    gateway = stand.gateway(1, replicas=[replica])
    payloads = {n: [_rows(model.bodies, model.answers, n)] for n in ROWS}
    taken: dict[int, list[float]] = {n: [] for n in ROWS}

    def ask(n: int, gateway: Gateway) -> LoadResult:
        before = cpu_seconds(pid)
        load = _ask(gateway.port, payloads[n], 1, seconds)
        taken[n].append((cpu_seconds(pid) - before) / max(load.answers, 1) * 1e6)
        return load

    loads = _by_turns(dict.fromkeys(ROWS, gateway), ask, rounds)
    return [
        {
            "n": n,
            **loads[n],
            "replica_us": round(statistics.median(taken[n]), 1),
            "body_kb": round(len(payloads[n][0].request) / 1000, 1),
        }
        for n in ROWS
    ]


def _rows(bodies: list[bytes], answers: list[Any], n: int) -> Payload:
    splits = [json.loads(body)["dataframe_split"] for body in bodies]
    data = [splits[at % len(splits)]["data"][0] for at in range(n)]
    body = json.dumps({"dataframe_split": {"columns": splits[0]["columns"], "data": data}})
    return Payload(
        http_request("POST", "/serving-endpoints/e0/invocations", "127.0.0.1", body.encode()),
        predictions=[answers[at % len(answers)][0] for at in range(n)],
    )


def turns(_stand: Stand, rounds: int, _seconds: float, _idle: float) -> Points:
    """A turn of the control loop in which nothing is to be done: a fake engine, a real store."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with ExitStack() as stack:
        sizes: dict[int, Small] = {}
        for n in ENDPOINTS:
            place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            sizes[n] = stack.enter_context(closing(Small(place, n)))
        taken: dict[int, list[float]] = {n: [] for n in sizes}
        for _ in range(20 * rounds):
            for n, small in sizes.items():
                began = time.process_time()
                small.measure(1)
                taken[n].append((time.process_time() - began) * 1e3)
    return [{"n": n, "turn_ms": round(statistics.median(some), 4)} for n, some in taken.items()]


def server(_stand: Stand, _rounds: int, _seconds: float, idle: float) -> Points:
    """A whole server of one endpoint that nobody asks: each process's share of a core."""
    model = prepare("M1", _WORK)
    with tempfile.TemporaryDirectory(prefix="srn-") as place:
        port = free_port()
        command = [str(Path(sys.executable).with_name("serinus")), "serve", "--port", str(port)]
        tree = ProcessTree(
            [*command, "--home", f"{place}/home", "--model", str(model.path)],
            env=limited_environment({"MLFLOW_TRACKING_URI": f"sqlite:///{place}/mlflow.db"}),
            cwd=Path(place),
            log=Path(place) / "output.log",
            port=port,
        )
        try:
            request = http_request("POST", "/invocations", "127.0.0.1", model.bodies[0])
            tree.wait_ready(Payload(request, predictions=model.answers[0]), 180.0)
            time.sleep(5.0)
            roles = {pid: role for pid, role in tree.roles().items() if role != "child"}
            before = {pid: cpu_seconds(pid) for pid in roles}
            time.sleep(idle)
            used = {pid: cpu_seconds(pid) - before[pid] for pid in roles}
        finally:
            tree.stop()
    return [
        {"n": 1, "process": role, "percent": round(used[pid] / idle * 100, 3)}
        for pid, role in sorted(roles.items(), key=lambda each: each[1])
    ]


_SECTIONS: dict[str, Callable[[Stand, int, float, float], Points]] = {
    "endpoints": by_endpoints,
    "versions": by_versions,
    "connections": by_connections,
    "rows": by_rows,
    "turns": turns,
    "server": server,
}


if __name__ == "__main__":
    raise SystemExit(main())
