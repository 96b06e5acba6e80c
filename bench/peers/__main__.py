"""`python -m bench.peers`: Serinus beside the servers a user would pick, and beside the limits.

Without arguments all models and all peers; results go to bench/results/peers.json, pictures and
tables into docs/why/speed.md. `--quick` measures M1 with the fewest peers. Exit code 0 when every
environment could be made and no answer was wrong, whatever the ratios say.
"""

import argparse
import time
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from bench.machine import describe
from bench.peers import page, results, tables
from bench.peers.catalogue import LIMITS, PEERS, QUICK, Peer, entrants
from bench.peers.environments import ENVIRONMENTS, ROOT, Installed, NotInstalled, install
from bench.peers.models import NAMES, NEEDS, case
from bench.peers.rounds import Measured, Plan, Rounds

_WORK = ROOT / "bench" / ".work" / "peers"
_WIDTH = 140
_LOADS = (1, 16, 64, 256)
_SHARES = (0.3, 0.6, 0.9)
_FULL = {
    "M0": Plan(_LOADS, 2.0, 2),
    "M1": Plan(_LOADS, 2.5, 3, shares=_SHARES, open_rounds=2),
    "M2": Plan(_LOADS, 2.0, 2, shares=_SHARES, open_rounds=1),
    "M3": Plan(_LOADS, 1.5, 2),
    "M4": Plan(_LOADS, 1.5, 2),
}
_QUICK = {"M1": Plan((1, 16, 64), 1.5, 3)}


def main() -> int:
    """Install, measure model by model, write after each, show."""
    asked = _parse()
    console = Console()
    if not console.is_terminal:
        # Without a terminal the width is a guess, and too narrow for the tables.
        console = Console(width=_WIDTH)
    plans = _plans(asked)
    only = tuple(filter(None, asked.only.split(","))) or (QUICK if asked.quick else ())
    out = (asked.out or _destination(asked)).resolve()
    wanted = {model: entrants(model, only) for model in plans}
    there, missing = _install(wanted, asked.afresh, console)
    environments = results.environments(there, missing)
    if asked.install_only:
        return 1 if missing else 0
    not_made = {name: missing[need] for name, need in NEEDS.items() if need in missing}
    results.keep(out, {"environments": environments, "not_made": not_made})
    wrong = 0
    for model, plan in plans.items():
        if model in not_made:
            console.print(f"{model} is left out: {not_made[model]}", style="red")
            continue
        peers = [each for each in wanted[model] if each.environment_for(model) not in missing]
        measured = _measure(model, plan, peers, out, console)
        wrong += sum(cell.load.wrong for cell in measured.cells)
    tables.show(results.kept(out), console)
    if out == results.FULL:
        page.write(results.kept(out))
    console.print(f"Written: {out.relative_to(ROOT) if out.is_relative_to(ROOT) else out}")
    return 1 if wrong or missing else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=main.__doc__)
    parser.add_argument("--quick", action="store_true", help="M1 and the fewest peers, 5 minutes")
    parser.add_argument("--models", default="", help=f"comma-separated, of {', '.join(NAMES)}")
    parser.add_argument("--only", default="", help="peers, comma-separated; see --list")
    parser.add_argument("--rounds", type=int, help="of the closed loop")
    parser.add_argument("--seconds", type=float, help="length of one window")
    parser.add_argument("--connections", default="", help="comma-separated, default 1,16,64,256")
    parser.add_argument("--out", type=Path, help="results file; a part of it goes to .work/")
    parser.add_argument("--install-only", action="store_true", help="make the environments")
    parser.add_argument("--afresh", action="store_true", help="make the environments anew")
    parser.add_argument("--page", action="store_true", help="only write the page again")
    parser.add_argument("--list", action="store_true", help="who can be measured")
    asked = parser.parse_args()
    known = PEERS | LIMITS
    if asked.list:
        for peer in known.values():
            print(f"{peer.name:26}{peer.about}")
        raise SystemExit(0)
    if asked.page:
        page.write(results.kept(results.FULL))
        raise SystemExit(0)
    unknown = set(filter(None, asked.only.split(","))) - set(known)
    unknown |= set(filter(None, asked.models.split(","))) - set(NAMES)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; see --list")
    return asked


def _plans(asked: argparse.Namespace) -> dict[str, Plan]:
    plans = _QUICK if asked.quick else _FULL
    chosen = tuple(filter(None, asked.models.split(","))) or tuple(plans)
    loads = tuple(map(int, filter(None, asked.connections.split(","))))
    found = {}
    for name in chosen:
        plan = plans.get(name, _FULL[name])
        found[name] = Plan(
            loads or plan.connections,
            asked.seconds or plan.seconds,
            asked.rounds or plan.rounds,
            starts=plan.starts,
            shares=plan.shares,
            open_rounds=plan.open_rounds,
        )
    return found


def _destination(asked: argparse.Namespace) -> Path:
    """The committed files are written by whole runs of a model only."""
    whole = not (asked.only or asked.connections or asked.rounds or asked.seconds)
    if not whole:
        return _WORK / "peers.json"
    return results.QUICK if asked.quick else results.FULL


def _install(
    wanted: dict[str, list[Peer]], afresh: bool, console: Console
) -> tuple[dict[str, Installed], dict[str, str]]:
    names = dict.fromkeys(
        peer.environment_for(model) for model, peers in wanted.items() for peer in peers
    )
    there, missing = {}, {}
    names |= dict.fromkeys(NEEDS[model] for model in wanted if model in NEEDS)
    for name in filter(None, names):
        console.print(f"[dim]environment {name}[/]", highlight=False)
        try:
            there[name] = install(ENVIRONMENTS[name], afresh=afresh)
        except NotInstalled as error:
            missing[name] = str(error)
            console.print(f"{name} is not measured: {error}", style="red", markup=False)
    return there, missing


def _measure(model: str, plan: Plan, peers: list[Peer], out: Path, console: Console) -> Measured:
    machine, at, began = describe(), datetime.now(UTC), time.perf_counter()
    measured = Rounds(plan, case(model, _WORK), peers, _WORK, console).execute()
    took = time.perf_counter() - began
    part = results.section(measured, plan, machine, at, took)
    results.keep(out, {"models": {model: part}})
    return measured


if __name__ == "__main__":
    raise SystemExit(main())
