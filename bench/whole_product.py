"""`python -m bench.whole_product`: what each thing that Serinus does for a request costs all of it.

Real gateways over real replicas of a model, two ways in turns within one run: a split against one
version; everything counted (evidence of a rollout, traces, live values) against nothing; the
gateway's own HTTP against uvicorn's; a constant model behind a split against HAProxy's split over
constant back ends. There is no controller but a stub that reads what gateways send: it is not on
the way of a request. Writes `results/whole_product.json`; exit code 1 when an answer was wrong.
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from bench.answers import Payload, http_request
from bench.limit import BODY
from bench.load import Job, measure
from bench.machine import describe, noise_ms
from bench.models import BenchModel, prepare
from bench.processes import ProcessTree, free_port, limited_environment
from bench.scale_parts import DIGEST
from bench.scale_stand import Stand, standing
from serinus.traffic import EndpointRoutes, ReplicaAddress, RouteTable, ServedRoute, StageRoute

_RESULTS = Path(__file__).resolve().parent / "results" / "whole_product.json"
_WORK = Path(__file__).parent / ".work"
_TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
_NOT_BUILT = "Inference tables are not part of the product yet, so no ratio has them."


class Side(NamedTuple):
    """One way to be measured."""

    port: int
    payloads: list[Payload]
    #: CPU seconds of its gateway so far; a proxy's is not known.
    cpu_s: Callable[[], float]


class Question(NamedTuple):
    """What is asked: ``one`` against ``other``, as a ratio of answers a second."""

    name: str
    one: Side
    other: Side
    #: What the ratio must be at least; None: nothing was promised.
    least: float | None


def main() -> int:
    """Measure, show, write."""
    parser = argparse.ArgumentParser(prog="python -m bench.whole_product", description=__doc__)
    parser.add_argument("--out", type=Path, default=_RESULTS, help="results file")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="length of one window")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--full", action="store_true", help="15 rounds of 4 seconds")
    asked = parser.parse_args()
    if asked.full:
        asked.rounds, asked.seconds = 15, 4.0
    report: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": describe(),
        "connections": asked.connections,
        "noise_ms": [round(noise_ms(), 2)],
        "left_out": [_NOT_BUILT],
    }
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="srn-")))
        stand = stack.enter_context(standing(place, 0))
        questions = _questions(stand)
        proxy = _haproxy(place, stack)
        if proxy is None:
            report["left_out"].append("HAProxy is not installed (apt-get install haproxy).")
        else:
            questions.append(_against(proxy, stand))
        taken = _measure(questions, asked)
    report["noise_ms"].append(round(noise_ms(), 2))
    report["ratios"] = [_judged(each, taken[each.name]) for each in questions]
    asked.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    _show(report)
    return int(any(ratio["wrong"] for ratio in report["ratios"]))


def _questions(stand: Stand) -> list[Question]:
    """All but the proxy, on one model."""
    m1 = prepare("M1", _WORK)
    live = [stand.model(m1.path, f"live-{at}")[0] for at in range(2)]
    bare = [stand.model(m1.path, f"bare-{at}", live=False)[0] for at in range(2)]
    stage = StageRoute("rollout", 1, "salt", "v0", "v1", 1000)
    one = _side(stand, _routes(live, (10_000, 0)), m1)
    two = _side(stand, _routes(live, (9_000, 1_000)), m1)
    halves = _side(stand, _routes(live, (5_000, 5_000)), m1)
    both = _side(stand, _one_version(live), m1)
    nothing = _side(stand, _routes(bare, (9_000, 1_000)), m1)
    everything = _side(
        stand, _routes(live, (9_000, 1_000), stage), m1, f"\r\nTraceparent: {_TRACE}"
    )
    uvicorn = _side(stand, _routes(live, (9_000, 1_000)), m1, front="uvicorn")
    return [
        Question("90/10 between two versions against one version", two, one, 0.97),
        Question("50/50 between two versions against two replicas of one", halves, both, 0.97),
        Question(
            "evidence, traces and live values against none of them", everything, nothing, 0.85
        ),
        Question("own HTTP against uvicorn's", two, uvicorn, None),
    ]


def _against(proxy: Side, stand: Stand) -> Question:
    m0 = prepare("M0", _WORK)
    constant = [stand.model(m0.path, f"m0-{at}")[0] for at in range(2)]
    side = _side(stand, _routes(constant, (9_000, 1_000)), m0)
    return Question("a constant model against HAProxy's split", side, proxy, 0.6)


def _routes(
    replicas: list[tuple[str, str]], weights: tuple[int, int], stage: StageRoute | None = None
) -> RouteTable:
    served = tuple(
        ServedRoute(f"v{at}", weight, (ReplicaAddress(name, path, DIGEST),))
        for at, (weight, (name, path)) in enumerate(zip(weights, replicas, strict=True))
    )
    return RouteTable(1, (EndpointRoutes("e", served, stage=stage),))


def _one_version(replicas: list[tuple[str, str]]) -> RouteTable:
    addresses = tuple(ReplicaAddress(name, path, DIGEST) for name, path in replicas)
    return RouteTable(1, (EndpointRoutes("e", (ServedRoute("v0", 10_000, addresses),)),))


def _side(
    stand: Stand, routes: RouteTable, model: BenchModel, more: str = "", *, front: str = "own"
) -> Side:
    gateway = stand.serve(routes, front=front)
    host = f"127.0.0.1{more}"
    payloads = [
        Payload(
            http_request("POST", "/serving-endpoints/e/invocations", host, body),
            predictions=answer,
        )
        for body, answer in zip(model.bodies, model.answers, strict=True)
    ]
    return Side(gateway.port, payloads, lambda: gateway.cpu_s)


def _haproxy(place: Path, stack: ExitStack) -> Side | None:
    """HAProxy before two servers that answer without reading; None where it is not installed."""
    if shutil.which("haproxy") is None:
        return None
    home, port = place / "haproxy", free_port()
    home.mkdir()
    tree = ProcessTree(
        [sys.executable, "-m", "bench.peers.proxied", "haproxy", str(port), str(home), str(home)],
        env=limited_environment({"PYTHONPATH": str(Path(__file__).resolve().parents[1])}),
        cwd=Path(__file__).resolve().parents[1],
        log=home / "output.log",
        port=port,
    )
    stack.callback(tree.stop)
    body = prepare("M0", _WORK).bodies[0]
    payload = Payload(http_request("POST", "/", "127.0.0.1", body), body=BODY)
    tree.wait_ready(payload, 60.0)
    return Side(port, [payload], lambda: 0.0)


def _measure(
    questions: list[Question], asked: argparse.Namespace
) -> dict[str, list[dict[str, float]]]:
    taken: dict[str, list[dict[str, float]]] = {each.name: [] for each in questions}
    for number in range(asked.rounds):
        for question in questions:
            # Who goes first changes: what a first window warms up falls on both alike.
            order = (question.one, question.other)
            found = {side.port: _window(side, asked) for side in (order, order[::-1])[number % 2]}
            one, other = found[question.one.port], found[question.other.port]
            taken[question.name].append(
                {
                    "ratio": one["rps"] / max(other["rps"], 1e-9),
                    "one_rps": one["rps"],
                    "other_rps": other["rps"],
                    "one_gateway_us": one["gateway_us"],
                    "other_gateway_us": other["gateway_us"],
                    "wrong": one["wrong"] + other["wrong"],
                }
            )
    return taken


def _window(side: Side, asked: argparse.Namespace) -> dict[str, float]:
    before = side.cpu_s()
    load = measure(Job("127.0.0.1", side.port, side.payloads, asked.connections, asked.seconds))
    used = side.cpu_s() - before
    return {
        "rps": load.rps,
        "gateway_us": used / max(load.answers, 1) * 1e6,
        "wrong": load.wrong + sum(load.errors.values()),
    }


def _judged(question: Question, rounds: list[dict[str, float]]) -> dict[str, Any]:
    """Medians over the rounds, of ratios within one round."""
    middle = {key: statistics.median(each[key] for each in rounds) for key in rounds[0]}
    least = question.least
    return {
        "name": question.name,
        "ratio": round(middle["ratio"], 4),
        "asked_at_least": least,
        "met": None if least is None else middle["ratio"] >= least,
        "requests_per_s": [round(middle["one_rps"]), round(middle["other_rps"])],
        "gateway_us": [round(middle["one_gateway_us"], 1), round(middle["other_gateway_us"], 1)],
        "wrong": int(sum(each["wrong"] for each in rounds)),
        "rounds": [round(each["ratio"], 4) for each in rounds],
    }


def _show(report: dict[str, Any]) -> None:
    for each in report["ratios"]:
        asked = each["asked_at_least"]
        said = "" if asked is None else f"asked {asked:.2f}, {'met' if each['met'] else 'NOT MET'}"
        first, second = each["requests_per_s"]
        one, other = each["gateway_us"]
        print(
            f"{each['name']:<56}{each['ratio']:6.3f}  {first:>7,}/{second:,} a second, "
            f"gateway {one:.0f}/{other:.0f} µs  {said}"
        )
    print("\n".join(report["left_out"]))


if __name__ == "__main__":
    raise SystemExit(main())
