"""`python -m bench.rollouts`: how fast weights reach the gateways, and what a turn costs.

One real `serinus serve --gateways 2` under light closed-loop load goes through promote/abort
cycles; then the control loop is timed in this process. One table and a results file. Exit code 0
when everything was measured, whatever the figures say.
"""

import argparse
import json
import logging
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import structlog
from rich.console import Console
from rich.table import Table

from bench.digits import rounded
from bench.machine import describe, noise_ms
from bench.models import prepare
from bench.rollout_figures import (
    CANDIDATE,
    STABLE,
    Answer,
    Change,
    Spread,
    Target,
    after_abort,
    failures,
    served_by,
    spread,
)
from bench.rollout_load import read_answers
from bench.rollout_loop import LoopCost, loop_costs
from bench.rollout_server import API, ENDPOINT, GATEWAYS, POLL_S, Server, create, loaded, serving
from serinus.traffic import unit_point

_HERE = Path(__file__).resolve().parent
_WORK = _HERE / ".work"
_RESULTS = _HERE / "results" / "rollouts.json"
_OTHERS = 2
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: The probes' unit lies between the two weights: each promote and each abort moves it.
_LOW, _HIGH = 0.10, 0.50
_SPEC = {
    "guardrails": [],
    "advance": {"after": "1h"},
    "unit": {"header": "x-user-id"},
    "steps": [{"set_weight": "10%"}, {"set_weight": "50%"}],
}
#: After a change has been seen everywhere, so that its answers can be told from the next one's.
_REST_S = 0.05
#: Cost of a turn with the most endpoints, as a multiple of that with one, that is called flat.
_FLAT = 2.0


@dataclass(frozen=True, slots=True)
class _Cycles:
    """What the cycles under load came to."""

    asked: int
    changes: list[Change]
    answers: list[Answer]
    gateways: list[str]
    #: Why the cycles ended before they were all done; empty when they were.
    cut_short: str


def main() -> int:
    """Run what the command line asks for."""
    arguments = _parse()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    console = Console() if Console().is_terminal else Console(width=132)
    machine, at, noise = describe(), datetime.now(UTC), [noise_ms()]
    _WORK.mkdir(exist_ok=True)
    cycles = _under_load(arguments.changes, arguments.cycles, arguments.minutes * 60)
    noise.append(noise_ms())
    costs = loop_costs()
    noise.append(noise_ms())
    result = _summary(cycles, arguments.changes, costs)
    targets = _targets(result, cycles, arguments)
    _show(targets, result, costs, console)
    report = {
        "date": at.isoformat(timespec="seconds"),
        "machine": machine,
        "noise_ms": [round(value, 2) for value in noise],
        "targets": [asdict(target) | {"met": target.met} for target in targets],
        **result,
        "loop": [asdict(cost) for cost in costs],
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(rounded(report), indent=1) + "\n", encoding="utf-8")
    return 1 if cycles.cut_short else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.rollouts", description=main.__doc__)
    parser.add_argument("--changes", type=int, default=200, help="promotes and aborts to time")
    parser.add_argument("--cycles", type=int, default=100, help="of one promote and one abort")
    parser.add_argument("--minutes", type=float, default=2.3, help="begin no cycle after that")
    parser.add_argument("--out", type=Path, default=_RESULTS, help="results file")
    arguments = parser.parse_args()
    if arguments.cycles < 1 or arguments.changes < 1:
        parser.error("there must be at least one cycle and one change")
    return arguments


def _under_load(changes: int, cycles: int, seconds: float) -> _Cycles:
    """All cycles on a server of its own; as many as both figures need."""
    stable, candidate = prepare("M0", _WORK), prepare("M1", _WORK)
    asked = max(cycles, (changes + 1) // 2)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        home = Path(name)
        with serving(home, _WORK / "rollouts.log") as server:
            create(server, stable)
            started = server.call("POST", API, {"candidate": str(candidate.path), **_SPEC})
            server.when(_at_weight(1000))
            served = {
                started["stable"]: (STABLE, stable.answers[0]),
                started["candidate"]: (CANDIDATE, candidate.answers[0]),
            }
            job = {
                "port": server.port,
                "endpoint": ENDPOINT,
                "gateways": GATEWAYS,
                "others": _OTHERS,
                "probe": _unit_between(started["id"]),
                "body": stable.bodies[0].decode(),
                "served": served,
                "out": str(home / "answers.txt"),
            }
            with loaded(job) as gateways:
                done, cut_short = _cycle(server, asked, seconds)
        answers = read_answers((home / "answers.txt").read_text(encoding="utf-8"))
    return _Cycles(asked, done, answers, gateways, cut_short)


def _cycle(server: Server, cycles: int, seconds: float) -> tuple[list[Change], str]:
    """Promote and abort in turn; a retry, which is not timed, begins the next cycle.

    Why it ended early comes with the changes.
    """
    changes: list[Change] = []
    give_up_at = time.monotonic() + seconds
    for number in range(cycles):
        if time.monotonic() > give_up_at:
            return changes, f"out of time after {number} of {cycles} cycles"
        if number:
            server.call("POST", f"{API}/current/retry")
            server.when(_at_weight(1000))
            time.sleep(_REST_S)
        changes.append(_change(server, "promote", CANDIDATE, _at_weight(5000), "stage_at"))
        changes.append(_change(server, "abort", STABLE, _rolled_back, "ended_at"))
    return changes, ""


def _change(
    server: Server,
    verb: str,
    outcome: str,
    over: Callable[[dict[str, Any]], bool],
    acknowledged: str,
) -> Change:
    """One verb, and what the rollout says of it; rests afterwards, so that it can be seen."""
    sent = time.time_ns()
    server.call("POST", f"{API}/current/{verb}")
    answered = time.time_ns()
    time.sleep(POLL_S)
    shown = server.when(over)
    time.sleep(_REST_S)
    moment = _nanoseconds(shown[acknowledged])
    return Change(verb, outcome, sent, answered, moment, time.time_ns())


def _at_weight(weight_bp: int) -> Callable[[dict[str, Any]], bool]:
    """Whether every gateway serves by that weight."""
    return lambda shown: shown["weight_bp"] == weight_bp and shown["stage_at"] is not None


def _rolled_back(shown: dict[str, Any]) -> bool:
    return bool(shown["phase"] == "ROLLED_BACK")


def _nanoseconds(moment: str) -> int:
    passed = datetime.fromisoformat(moment) - _EPOCH
    return passed // timedelta(microseconds=1) * 1000


def _unit_between(salt: str) -> str:
    """A unit that the low weight leaves with stable and the high weight gives to the candidate."""
    numbers = range(10_000)
    return next(
        f"probe-{number}"
        for number in numbers
        if _LOW + 0.05 < unit_point(salt, f"probe-{number}".encode()) < _HIGH - 0.05
    )


def _summary(cycles: _Cycles, wanted: int, costs: list[LoopCost]) -> dict[str, Any]:
    """All figures but the targets, as they go into the file."""
    timed = cycles.changes[:wanted]
    seen: dict[str, list[float]] = {"promote": [], "abort": []}
    known: dict[str, list[float]] = {"promote": [], "abort": []}
    unseen = 0
    for change in timed:
        near = [a for a in cycles.answers if change.sent <= a.received <= change.until]
        delay = served_by(change, near, cycles.gateways)
        known[change.verb].append((change.acknowledged - change.sent) / 1e6)
        if delay is None:
            unseen += 1
        else:
            seen[change.verb].append(delay)
    return {
        "asked_cycles": cycles.asked,
        "cycles": len(cycles.changes) // 2,
        "cut_short": cycles.cut_short,
        "changes_timed": len(timed),
        "changes_not_seen_by_probes": unseen,
        "seen_by_probes_ms": _spreads(seen),
        "known_to_controller_ms": _spreads(known),
        "post_answered_ms": _spread([(c.answered - c.sent) / 1e6 for c in timed]),
        "probe_interval_ms": _spread(_intervals(cycles)),
        "requests": len(cycles.answers),
        "requests_by_candidate": sum(a.outcome == CANDIDATE for a in cycles.answers),
        "requests_after_abort": _sent_after_abort(cycles),
        "by_candidate_after_abort": after_abort(cycles.changes, cycles.answers),
        "failed": dict(failures(cycles.answers)),
        "loop_growth": costs[-1].median_ms / costs[0].median_ms,
    }


def _intervals(cycles: _Cycles) -> list[float]:
    """Milliseconds between two answers of a gateway's probe: the resolution of what it sees."""
    found = []
    for gateway in cycles.gateways:
        moments = [a.received for a in cycles.answers if a.probe and a.gateway == gateway]
        found += [(after - before) / 1e6 for before, after in pairwise(moments)]
    return found


def _sent_after_abort(cycles: _Cycles) -> int:
    """How many requests there were for the candidate to answer wrongly."""
    aborts = [change for change in cycles.changes if change.verb == "abort"]
    return sum(c.acknowledged < a.sent < c.until for c in aborts for a in cycles.answers)


def _spreads(delays: dict[str, list[float]]) -> dict[str, Any]:
    together = [delay for found in delays.values() for delay in found]
    return {verb: _spread(found) for verb, found in {**delays, "all": together}.items()}


def _spread(delays: list[float]) -> dict[str, Any] | None:
    found: Spread | None = spread(delays)
    return None if found is None else asdict(found)


def _targets(
    result: dict[str, Any], cycles: _Cycles, arguments: argparse.Namespace
) -> list[Target]:
    timed, done = result["changes_timed"], result["cycles"]
    rows = [
        Target(
            f"{name} → last gateway serves by it, p99, {source}",
            50.0,
            result[key][verb] and result[key][verb]["p99"],
            " ms",
        )
        for verb, name in (
            ("all", f"{timed} weight changes and aborts"),
            ("promote", "of these: promotes"),
            ("abort", "of these: aborts"),
        )
        for key, source in (
            ("seen_by_probes_ms", "seen by a probe on each gateway"),
            ("known_to_controller_ms", "known to the controller"),
        )
    ]
    requests, after = result["requests"], result["requests_after_abort"]
    failed = sum(result["failed"].values())
    return [
        *rows,
        Target("changes that no probe saw", 0, result["changes_not_seen_by_probes"]),
        Target(
            f"answered by the candidate after the acknowledged abort, of {after} requests",
            0,
            result["by_candidate_after_abort"] if after else None,
        ),
        Target(
            f"failed in {done} promote/abort cycles, of {requests} requests",
            0,
            failed if requests and done else None,
        ),
        Target("a turn with 200 endpoints / a turn with 1", _FLAT, result["loop_growth"], " x"),
    ]


def _show(
    targets: list[Target], result: dict[str, Any], costs: list[LoopCost], console: Console
) -> None:
    table = Table(title="Rollouts, two gateways, light load", title_justify="left")
    for name in ("target", "wanted", "measured", "met"):
        table.add_column(name, justify="left" if name in ("target", "met") else "right")
    words = {True: "[green]yes[/]", False: "[red]no[/]", None: "not measured"}
    for target in targets:
        measured = "-" if target.measured is None else f"{target.measured:.4g}{target.unit}"
        table.add_row(target.text, f"≤ {target.want:g}{target.unit}", measured, words[target.met])
    console.print(table)
    for key in ("seen_by_probes_ms", "known_to_controller_ms"):
        for verb, found in result[key].items():
            if found:
                figures = f"p50 {found['p50']:.1f}, p99 {found['p99']:.1f}"
                name = f"{key.removesuffix('_ms').replace('_', ' ')}, {verb} ({found['count']})"
                console.print(f"{name}: {figures}, highest {found['highest']:.1f} ms")
    loop = ", ".join(f"{cost.endpoints}: {cost.median_ms:.2f} ms" for cost in costs)
    console.print(f"A turn with nothing to do, by endpoints (median): {loop}")
    if result["failed"] or result["cut_short"]:
        console.print(f"[yellow]failed: {result['failed']}; {result['cut_short']}[/]")


if __name__ == "__main__":
    raise SystemExit(main())
