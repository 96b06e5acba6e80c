"""How the demo looks: one table, live on a terminal, printed once elsewhere. Decides nothing."""

from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from serinus.cli.demo.models import Version
from serinus.cli.demo.traffic import CLIENTS, Report, Tally

__all__ = ["scores", "summary"]


def scores(versions: list[Version], asked: dict[str, int], tally: Tally) -> RenderableType:
    """Per version: its share against what was asked, its AUC against training, its latency."""
    reports = tally.reports()
    total = sum(report.requests for report in reports.values())
    title = "Is this flight more than 15 minutes late? AUC and latency, live"
    table = Table(title=title, show_edge=False)
    table.add_column("version", no_wrap=True)
    for column in ("requests", "share", "asked", "AUC", "held out", "p50 ms", "p99 ms"):
        table.add_column(column, justify="right", no_wrap=True)
    for version in versions:
        name = version.served_name
        report = reports.get(name) or Report(name, 0, 0, None, None, None)
        table.add_row(
            name,
            str(report.requests),
            f"{report.requests / total:.1%}" if total else "-",
            f"{asked[name]} %",
            _number(report.auc, ".3f"),
            f"{version.auc:.3f}",
            _number(report.p50_ms, ".1f"),
            _number(report.p99_ms, ".1f"),
        )
    failed = tally.failures
    state = Text(
        f"{failed} failed requests; latency as each of {CLIENTS} busy SDK clients sees it",
        style="bold red" if failed else "dim",
    )
    return Group(table, state)


def summary(
    versions: list[Version], asked: dict[str, int], tally: Tally, broken: list[str]
) -> dict[str, Any]:
    """The same for programs."""
    reports = tally.reports()
    return {
        "ok": not broken,
        "broken": broken,
        "requests": tally.total,
        "failed": tally.failures,
        "versions": [
            {
                "asked_percent": asked[version.served_name],
                "auc_held_out": version.auc,
                **asdict(
                    reports.get(version.served_name)
                    or Report(version.served_name, 0, 0, None, None, None)
                ),
            }
            for version in versions
        ],
    }


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"
