"""``serinus skew``: how far live values lie from training's, and two versions' from each other."""

from collections.abc import Iterator
from typing import Annotated, Any

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
from serinus.cli.live_options import CallerOption, WindowOption
from serinus.cli.output import Exit, Output, OutputOption, show_json, stdout

__all__ = ["skew"]

_EXITS = {
    "skewed": Exit.FINDING,
    "alike": Exit.GOOD,
    "not enough data": Exit.UNDECIDED,
    "no training profile": Exit.UNDECIDED,
}
_COLOURS = {"skewed": "red", "alike": "green"}


def skew(
    endpoint: EndpointArgument,
    window: WindowOption = "24h",
    version: Annotated[
        str | None, typer.Option(help="only this served entity", show_default=False)
    ] = None,
    caller: CallerOption = None,
    decay: Annotated[
        str | None,
        typer.Option(
            help="no window: an hour counts by its age, e^(-age/DECAY)", show_default=False
        ),
    ] = None,
    server: ServerOption = DEFAULT_SERVER,
    token: TokenOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Compare live values with training, field by field. 0: alike, 1: skewed, 4: can't be said."""
    with connected(server, token) as client:
        found = client.skew(endpoint, window=window, version=version, caller=caller, decay=decay)
    if output is Output.JSON:
        show_json(found)
    else:
        _show(found)
    raise typer.Exit(_EXITS.get(str(found["verdict"]), Exit.UNDECIDED))


def _show(found: dict[str, Any]) -> None:
    out = stdout()
    of = f" from {found['caller']}" if found["caller"] else ""
    head = f"{found['endpoint']}: {_coloured(found['verdict'])}"
    out.print(f"{head}{escape(of)} since {found['since']}")
    if not found["versions"]:
        out.print("No live values were counted in this window.")
    for version in found["versions"]:
        callers = ", ".join(
            f"{name or '(no name)'} {rows:,}" for name, rows in version["callers"].items()
        )
        out.print(f"\n{escape(version['version'])}: {version['rows']:,} rows; {escape(callers)}")
        for kind, fields in version["refused"].items():
            out.print(f"  refused ({escape(kind)}): {sum(fields.values()):,} requests")
        for line in _beside(version):
            out.print(f"  {escape(line)}")
        for compared in [version["training"], *version["between"]]:
            _show_compared(compared)


def _beside(version: dict[str, Any]) -> Iterator[str]:
    """What is not in the counts of the fields."""
    for kind, fields in version.get("coerced", {}).items():
        named = ", ".join(f"{name} {times:,}" for name, times in fields.items() if name)
        of = f" ({named})" if named else ""
        yield f"let pass, strict reading refuses it ({kind}): {sum(fields.values()):,} values{of}"
    if version.get("skipped_rows"):
        yield f"answered and not counted: {version['skipped_rows']:,} rows beyond the sampling rate"
    for name, took in version.get("stages", {}).items():
        times = " / ".join(f"{1000 * took[each]:.3g}" for each in ("p50_s", "p95_s", "p99_s"))
        yield f"{name}: {times} ms (p50 / p95 / p99 of requests)"
    nulls, lost = version.get("answer_nulls") or {}, version.get("lost") or {}
    if any(nulls.values()):
        yield (
            f"answers written as null since the replicas began: {nulls['nan']:,} NaN, "
            f"{nulls['infinity']:,} infinite"
        )
    if any(lost.values()):
        yield (
            f"lost since the replicas began: {lost['rows']:,} rows without room, "
            f"{lost['slices']:,} slices given up for memory, {lost['requests']:,} requests not read"
        )


def _show_compared(compared: dict[str, Any]) -> None:
    out = stdout()
    out.print(f"against {escape(compared['against'])}: {_coloured(compared['verdict'])}")
    if compared["detail"]:
        out.print(escape(compared["detail"]))
    if not compared["fields"]:
        return
    table = Table(box=None, pad_edge=False)
    for name in ("field", "verdict", "PSI", "limit", "null", "was", "new", "why"):
        table.add_column(name, justify="right" if name in ("PSI", "limit") else "left")
    for each in compared["fields"]:
        table.add_row(
            escape(each["field"]),
            _coloured(each["verdict"]),
            _number(each["psi"]),
            _number(each["limit"]),
            _share(each["null"]),
            _share(each["other_null"]),
            _share(each["novel"]),
            escape(each["detail"]),
        )
    out.print(table)


def _coloured(verdict: str) -> str:
    colour = _COLOURS.get(verdict, "yellow")
    return f"[{colour}]{escape(verdict)}[/]"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"
