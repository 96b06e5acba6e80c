"""``serinus rollout replay``: a rollout's decisions made again from its journal."""

from typing import Any

import typer
from rich.markup import escape
from rich.table import Table

from serinus.cli.connection import (
    DEFAULT_SERVER,
    EndpointArgument,
    ServerOption,
    TokenOption,
    connected,
)
from serinus.cli.output import Exit, Output, OutputOption, show_json, stdout
from serinus.cli.rollout_lines import percent
from serinus.cli.rollout_options import IdOption

__all__ = ["replay"]


def replay(
    endpoint: EndpointArgument,
    id_: IdOption = "current",
    server: ServerOption = DEFAULT_SERVER,
    token: TokenOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Judge the kept evidence again and say whether each decision of a rollout stands."""
    with connected(server, token) as client:
        found = client.replay(endpoint, id_)
    if output is Output.JSON:
        show_json(found)
    else:
        _show(found)
    if not found["stands"]:
        raise typer.Exit(Exit.FINDING)
    if not found["decisions"]:
        raise typer.Exit(Exit.UNDECIDED)


def _show(found: dict[str, Any]) -> None:
    out, decisions = stdout(), found["decisions"]
    if decisions:
        table = Table("entry", "decision", "to", "verdicts", "stands")
        for each in decisions:
            moved = each["to"] if each["from"] == each["to"] else f"{each['from']} → {each['to']}"
            said = ", ".join(f"{one['name']} {one['verdict']}" for one in each["verdicts"])
            table.add_row(
                str(each["entry"]),
                escape(f"{each['event']}: {moved}"),
                percent(each["candidate_bp"] or 0),
                said or "-",
                "yes" if each["stands"] else "no",
            )
        out.print(table)
    for each in decisions:
        for objection in each["against"]:
            out.print(f"entry {each['entry']}: {objection}", markup=False, soft_wrap=True)
    out.print(_sum(found), markup=False, soft_wrap=True)


def _sum(found: dict[str, Any]) -> str:
    decisions = found["decisions"]
    if not decisions:
        return "nothing was decided yet"
    fallen = sum(not each["stands"] for each in decisions)
    told = f"{fallen} do not stand" if fallen else "all stand"
    return f"{len(decisions)} decisions, {found['judged']} judged again from evidence: {told}"
