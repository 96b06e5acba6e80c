"""``serinus rollout``: start, watch, steer and undo rollouts. All by the REST API."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
from serinus.cli.output import Output, OutputOption, note, show_json, stdout
from serinus.cli.rollout_lines import (
    entry_line,
    past,
    stands,
    verification_line,
    waits,
    ways,
)
from serinus.cli.rollout_options import IdOption, SpecOption, StepsOption, StrategyOption, spec_of
from serinus.cli.rollout_plan import plan
from serinus.cli.rollout_replay import replay

if TYPE_CHECKING:
    from serinus.client import Client

__all__ = ["rollout"]

rollout = typer.Typer(no_args_is_help=True, help="Release a new version step by step.")

WatchOption = Annotated[
    bool, typer.Option("--watch", "-w", help="follow it; the exit code says how it ended")
]
TimeoutOption = Annotated[
    float,
    typer.Option("--timeout", min=0, help="seconds to watch; exit code 4 when they are over"),
]
WaiveOption = Annotated[
    str | None,
    typer.Option(
        "--waive-verification",
        metavar="REASON",
        help="let it by its verification; the journal keeps who said so and why",
        show_default=False,
    ),
]
_HOUR = 3600.0


@rollout.command("start")
def start(
    endpoint: EndpointArgument,
    candidate: Annotated[
        str | None,
        typer.Option(help="the new version, e.g. models:/m/2", show_default=False),
    ] = None,
    file: SpecOption = None,
    optimize: Annotated[
        str | None,
        typer.Option(help="its form: onnx or none; else stable's", show_default=False),
    ] = None,
    strategy: StrategyOption = None,
    steps: StepsOption = None,
    self_test: Annotated[
        bool,
        typer.Option("--aa", help="stable against itself: says how often the gate is wrong"),
    ] = False,
    no_guardrails: Annotated[
        bool, typer.Option("--no-guardrails", help="go by time and approvals, without evidence")
    ] = False,
    waive_verification: WaiveOption = None,
    watch: WatchOption = False,
    timeout: TimeoutOption = _HOUR,
    server: ServerOption = DEFAULT_SERVER,
    token: TokenOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Start a rollout; a rollout that is under way makes room."""
    spec = spec_of(file, strategy, steps)
    if candidate is not None:
        spec["candidate"] = _absolute(candidate)
    if self_test:
        spec["self_test"] = True
    elif not spec.get("self_test") and "candidate" not in spec:
        raise typer.BadParameter("name the new version with --candidate URI, or in the file")
    if optimize is not None:
        spec["optimize"] = optimize
    if no_guardrails:
        spec["guardrails"] = []
    spec |= _waiver(waive_verification)
    with connected(server, token) as client:
        started = client.start_rollout(endpoint, spec)
        if watch:
            _follow(client, endpoint, started["id"], timeout, output)
    _show(started, output)


@rollout.command("status")
def status(
    endpoint: EndpointArgument,
    id_: IdOption = "current",
    watch: WatchOption = False,
    timeout: TimeoutOption = _HOUR,
    server: ServerOption = DEFAULT_SERVER,
    token: TokenOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Where a rollout stands, and what it waits for."""
    with connected(server, token) as client:
        found = client.rollout(endpoint, id_)
        if watch:
            _follow(client, endpoint, found["id"], timeout, output)
    _show(found, output, named=id_ != "current")


@rollout.command("promote")
def promote(
    endpoint: EndpointArgument,
    full: Annotated[bool, typer.Option("--full", help="straight to 100 %")] = False,
    id_: IdOption = "current",
    server: ServerOption = DEFAULT_SERVER,
    token: TokenOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """On to the next step, whatever the evidence says; the journal keeps who said so."""
    _ask(server, token, output, endpoint, id_, "promote", **({"full": True} if full else {}))


@rollout.command("pause")
def pause(
    endpoint: EndpointArgument,
    id_: IdOption = "current",
    server: ServerOption = DEFAULT_SERVER,
    token: TokenOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Stay at this weight; a regression still rolls back."""
    _ask(server, token, output, endpoint, id_, "pause")


@rollout.command("resume")
def resume(
    endpoint: EndpointArgument,
    id_: IdOption = "current",
    server: ServerOption = DEFAULT_SERVER,
    token: TokenOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Go on after a pause, or give a step that ran out of time its time again."""
    _ask(server, token, output, endpoint, id_, "resume")


@rollout.command("approve")
def approve(
    endpoint: EndpointArgument,
    waive_verification: WaiveOption = None,
    id_: IdOption = "current",
    server: ServerOption = DEFAULT_SERVER,
    token: TokenOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Say yes to the step that waits for it, or to a candidate that is not verified."""
    _ask(server, token, output, endpoint, id_, "approve", **_waiver(waive_verification))


@rollout.command("abort")
def abort(
    endpoint: EndpointArgument,
    reason: Annotated[str, typer.Option(help="why, for the journal", show_default=False)] = "",
    id_: IdOption = "current",
    server: ServerOption = DEFAULT_SERVER,
    token: TokenOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Back to the stable version, now."""
    particulars = {"reason": reason} if reason else {}
    _ask(server, token, output, endpoint, id_, "abort", **particulars)


@rollout.command("retry")
def retry(
    endpoint: EndpointArgument,
    fresh_evidence: Annotated[
        bool, typer.Option("--fresh-evidence", help="forget what was learnt about it")
    ] = False,
    waive_verification: WaiveOption = None,
    id_: IdOption = "current",
    server: ServerOption = DEFAULT_SERVER,
    token: TokenOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Try a candidate again that was rolled back."""
    fresh = {"fresh_evidence": True} if fresh_evidence else {}
    waiver = _waiver(waive_verification)
    _ask(server, token, output, endpoint, id_, "retry", **fresh, **waiver)


@rollout.command("undo")
def undo(
    endpoint: EndpointArgument,
    to: Annotated[
        int | None,
        typer.Option(min=1, metavar="VERSION", help="a config version", show_default=False),
    ] = None,
    server: ServerOption = DEFAULT_SERVER,
    token: TokenOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Back to what served before the last rollout; a rollout under way is aborted."""
    with connected(server, token) as client:
        found = client.undo(endpoint, to)
    _show(found, output)


@rollout.command("history")
def history(
    endpoint: EndpointArgument,
    limit: Annotated[int, typer.Option(min=1, max=100, help="how many")] = 20,
    server: ServerOption = DEFAULT_SERVER,
    token: TokenOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Every rollout of an endpoint, the newest first."""
    with connected(server, token) as client:
        found = client.rollouts(endpoint, limit=limit)
    if output is Output.JSON:
        show_json({"rollouts": found})
    elif not found:
        note(f"no rollouts yet; start one with: serinus rollout start {endpoint} --candidate URI")
    else:
        for each in found:
            stdout().print(past(each), markup=False, soft_wrap=True)


@rollout.command("why")
def why(
    endpoint: EndpointArgument,
    id_: IdOption = "current",
    limit: Annotated[int, typer.Option(min=1, max=100, help="journal entries to show")] = 10,
    server: ServerOption = DEFAULT_SERVER,
    token: TokenOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Why a rollout is where it is, in words, and what led there."""
    with connected(server, token) as client:
        found = client.rollout(endpoint, id_)
        entries = _last(client, endpoint, found["id"], limit)
    if output is Output.JSON:
        show_json({"rollout": found, "entries": entries})
        return
    out = stdout()
    lines = [found.get("why") or stands(found)]
    lines += [f"{each['name']} {each['verdict']}: {each['reason']}" for each in found["guardrails"]]
    lines += [f"warning: {found['caution']['why']}"] if found.get("caution") else []
    lines += [found["self_test"]["said"]] if found.get("self_test") else []
    for line in lines:
        out.print(line, markup=False, soft_wrap=True)
    for entry in entries:
        out.print(entry_line(entry), markup=False, soft_wrap=True, style="dim")


rollout.command("replay")(replay)
rollout.command("plan")(plan)


def _last(client: "Client", endpoint: str, rollout_id: str, limit: int) -> list[dict[str, Any]]:
    """The last entries of the rollout's journal; it is read from its beginning, page by page."""
    entries: list[dict[str, Any]] = []
    after = 0
    while page := client.journal(endpoint, rollout_id, after=after):
        entries = (entries + page)[-limit:]
        after = page[-1]["id"]
    return entries


def _ask(
    server: str,
    token: str | None,
    output: Output,
    endpoint: str,
    rollout_id: str,
    verb: str,
    **particulars: object,
) -> None:
    with connected(server, token) as client:
        found = client.ask(endpoint, verb, rollout_id, **particulars)
    if output is Output.JSON:
        show_json(found)
    else:
        note(f"asked rollout {found['id']} to {verb}; see: serinus rollout status {endpoint}")
        if found.get("caution") and verb != "abort":
            note(f"warning: {found['caution']['why']}")


def _follow(
    client: "Client", endpoint: str, rollout_id: str, timeout_s: float, output: Output
) -> None:
    """Watch until it is decided, and end the command with the exit code for that."""
    # Rich's live display would slow the start of every other command.
    from serinus.cli.rollout_screen import follow  # noqa: PLC0415

    code, last = follow(client, endpoint, rollout_id, timeout_s)
    _show(last, output)
    raise typer.Exit(code)


def _show(found: dict[str, Any], output: Output, *, named: bool = False) -> None:
    if output is Output.JSON:
        show_json(found)
        return
    out = stdout()
    out.print(stands(found), markup=False, soft_wrap=True)
    out.print(f"{found['stable']} → {found['candidate']}", markup=False)
    out.print(waits(found), markup=False, soft_wrap=True)
    # Of one that was named by its id and is over, others may have come since.
    if (on := ways(found)) and not (named and found.get("ended_at")):
        out.print(on, markup=False, soft_wrap=True)
    if verified := verification_line(found.get("verification") or {}):
        out.print(verified, markup=False, soft_wrap=True)
    if found.get("guardrails"):
        table = Table("guardrail", "verdict", "reason")
        for each in found["guardrails"]:
            table.add_row(each["name"], each["verdict"], escape(each.get("reason") or ""))
        out.print(table)
    if found.get("self_test"):
        out.print(found["self_test"]["said"], markup=False, soft_wrap=True)


def _waiver(reason: str | None) -> dict[str, Any]:
    return {} if reason is None else {"waive_verification": reason}


def _absolute(candidate: str) -> str:
    """The server may have another working directory than this command."""
    return candidate if ":/" in candidate else str(Path(candidate).absolute())
