"""`python -m bench`: contenders in turns, ratios in one run, two tables and a results file.

Exit code 0 when everything asked for was measured and every answer was right, whatever the ratios
say; 1 otherwise. Speed is reported here, never judged by an exit code.
"""

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from bench.campaign import Campaign, Plan
from bench.digits import rounded
from bench.machine import describe
from bench.models import MODELS, prepare
from bench.report import show, to_json
from bench.servers import CONTENDERS

_HERE = Path(__file__).resolve().parent
_WORK = _HERE / ".work"
_RESULTS = _HERE / "results"
_WIDTH = 132


def main() -> int:
    """Run what the command line asks for."""
    arguments = _parse()
    console = Console()
    if not console.is_terminal:
        # Without a terminal the width is a guess, and too narrow for the tables.
        console = Console(width=_WIDTH)
    plan = _plan(arguments)
    machine = describe()
    at = datetime.now(UTC)
    campaign = Campaign(plan, prepare(arguments.model, _WORK), _WORK, console)
    campaign.execute()
    show(campaign, console)
    out = arguments.out or _destination(arguments, campaign)
    out.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(rounded(to_json(campaign, plan, machine, at)), indent=1)
    out.write_text(text + "\n", encoding="utf-8")
    console.print(
        f"Written: {out.relative_to(Path.cwd()) if out.is_relative_to(Path.cwd()) else out}"
    )
    wrong = any(cell.load.failed for cell in campaign.cells)
    return 1 if wrong or campaign.missing else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=main.__doc__)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="under five minutes (the default)")
    size.add_argument("--full", action="store_true", help="more rounds, open loop, 256 connections")
    parser.add_argument("--only", default="", help=f"comma-separated, of: {', '.join(_names())}")
    parser.add_argument("--connections", default="", help="comma-separated, default 1,16,64")
    parser.add_argument("--seconds", type=float, help="length of a cell, default 3 (full: 8)")
    parser.add_argument("--rounds", type=int, help="default 3 (full: 5)")
    parser.add_argument("--model", default="M1", choices=sorted(MODELS))
    parser.add_argument("--out", type=Path, help="results file; a partial run writes to .work/")
    arguments = parser.parse_args()
    unknown = set(filter(None, arguments.only.split(","))) - set(_names())
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(_names())}")
    return arguments


def _plan(arguments: argparse.Namespace) -> Plan:
    wanted = set(arguments.only.split(",")) if arguments.only else set(_names())
    wanted |= {CONTENDERS[name].shares for name in wanted} - {""}
    names = tuple(
        name for name in _names() if name in wanted and arguments.model in CONTENDERS[name].models
    )
    usual = (1, 16, 64, 256) if arguments.full else (1, 16, 64)
    return Plan(
        contenders=names,
        connections=tuple(map(int, filter(None, arguments.connections.split(",")))) or usual,
        seconds=arguments.seconds or (8.0 if arguments.full else 3.0),
        rounds=arguments.rounds or (5 if arguments.full else 3),
        starts=3 if arguments.full else 1,
        shares=(0.3, 0.6, 0.9) if arguments.full else (),
    )


def _names() -> list[str]:
    return [name for name in CONTENDERS if name != "limit"]


def _destination(arguments: argparse.Namespace, campaign: Campaign) -> Path:
    """The committed file is written by whole runs only."""
    whole = not (arguments.only or arguments.connections or campaign.missing)
    return (
        _RESULTS / "foundation.json" if whole and arguments.model == "M1" else _WORK / "last.json"
    )


if __name__ == "__main__":
    raise SystemExit(main())
