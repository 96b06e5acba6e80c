"""What a campaign found: medians per cell, the two tables, the results file.

Reads figures, never measures. Totals of errors are over all rounds; other figures are medians.
"""

from collections import defaultdict
from datetime import datetime
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.campaign import Campaign, Cell, Plan
from bench.processes import Memory
from bench.servers import CONTENDERS
from bench.targets import BASELINES, FOUNDATION, Finding, Ratio, Round, evaluate, ratios

__all__ = ["findings", "rounds_of", "show", "to_json", "weights_of"]

_FIGURES = ("rps", "mean_ms", "p50_ms", "p90_ms", "p99_ms", "p999_ms", "max_ms", "generator_cpu")
#: Above this share of a core the generator may have held the server back.
_GENERATOR_BUSY = 0.9
#: Above this many cores used by others a run says less than it seems to.
_DISTURBED = 0.25


def rounds_of(cells: list[Cell]) -> list[Round]:
    """The closed-loop cells by round, as the targets want them."""
    rounds: dict[int, dict[tuple[str, int], dict[str, float]]] = defaultdict(dict)
    for cell in cells:
        if not cell.share:
            figures = {name: float(getattr(cell.load, name)) for name in _FIGURES}
            figures["failed"] = cell.load.failed
            rounds[cell.round][cell.contender, cell.connections] = figures
    return [rounds[number] for number in sorted(rounds)]


def weights_of(campaign: Campaign) -> dict[str, float]:
    """Memory and start of the product, as far as they were measured."""
    solo = campaign.solos.get("serinus")
    if solo is None:
        return {}
    found = {"cold_start_s": median(solo.cold_starts_s)}
    for role in ("gateway", "controller", "replica"):
        sizes = [memory.pss for memory in solo.memory if memory.role == role]
        if sizes:
            found[f"{role}_mib"] = max(sizes)
    if "replica_mib" in found:
        found["replica_over_bare_mib"] = found["replica_mib"] - campaign.bare_mib
    return found


def findings(campaign: Campaign) -> list[Finding]:
    """The targets of the foundation against this run; they are about M1 and no other model."""
    if campaign.model != "m1":
        return []
    return evaluate(FOUNDATION, rounds_of(campaign.cells), weights_of(campaign))


def to_json(
    campaign: Campaign, plan: Plan, machine: dict[str, Any], at: datetime
) -> dict[str, Any]:
    """The results file: everything that was measured, and what it was measured on."""
    return {
        "date": at.isoformat(timespec="seconds"),
        "machine": machine,
        "model": campaign.model,
        "plan": {name: getattr(plan, name) for name in plan.__dataclass_fields__},
        "noise_ms": _noise(campaign.cells),
        "generator_ceiling": {
            str(connections): {"rps": load.rps, "p50_ms": load.p50_ms, "p99_ms": load.p99_ms}
            for connections, load in campaign.ceiling.items()
        },
        "bare_model_process_mib": campaign.bare_mib,
        "missing": campaign.missing,
        "alone": {
            name: {
                "cold_starts_s": solo.cold_starts_s,
                "first_start_s": solo.first_start_s,
                "idle_cores": solo.idle_cores,
                "killed_at_stop": solo.killed_at_stop,
                "memory_mib": [
                    {"role": m.role, "pss": m.pss, "uss": m.uss, "rss": m.rss} for m in solo.memory
                ],
            }
            for name, solo in campaign.solos.items()
        },
        "medians": _medians(campaign),
        "targets": [
            {
                "target": finding.text,
                "wanted": finding.want,
                "at_least": finding.at_least,
                "measured": finding.measured,
                "lowest": finding.lowest,
                "highest": finding.highest,
                "met": finding.met,
            }
            for finding in findings(campaign)
        ],
        "cells": [cell.to_json() for cell in campaign.cells],
    }


def show(campaign: Campaign, console: Console) -> None:
    """Both tables, then what weakens them."""
    console.print(_figures(campaign))
    if found := findings(campaign):
        console.print(_targets(found))
    ceiling = ", ".join(
        f"{connections}: {load.rps:,.0f} req/s, p50 {load.p50_ms:.3f} ms"
        for connections, load in campaign.ceiling.items()
    )
    console.print(f"Generator against a server that only answers (connections: figures): {ceiling}")
    noise = _noise(campaign.cells)
    if noise:
        console.print(
            f"A fixed Python loop took {noise['lowest']:.1f} to {noise['highest']:.1f} ms; "
            f"others used {noise['foreign_cores']:.2f} cores (median)."
        )
    console.print(f"Bare model process: {campaign.bare_mib:.0f} MiB PSS.")
    for line in _remarks(campaign):
        console.print(f"[yellow]{line}[/]")


def _figures(campaign: Campaign) -> Table:
    table = Table(title="One row per request; medians of the rounds", title_justify="left")
    table.add_column("contender", no_wrap=True)
    for name in ("conns", "req/s", *(f"x {peer}" for peer in BASELINES.values())):
        table.add_column(name, justify="right")
    for name in ("p50 ms", "p99 ms", "CPU µs/req", "errors", "PSS MiB", "cold s"):
        table.add_column(name, justify="right")
    for row in _medians(campaign):
        name = row["contender"]
        label = f"{name} (open, {row['share']:.0%})" if row["share"] else name
        solo = campaign.solos.get(CONTENDERS[name].shares or name)
        table.add_row(
            label,
            str(row["connections"]),
            f"{row['rps']:,.0f}",
            *(_short(row.get("against", {}).get(peer)) for peer in BASELINES),
            _short(row["p50_ms"]),
            _short(row["p99_ms"]),
            f"{row['cpu_us_per_request']:,.0f}",
            str(row["failed"]),
            f"{_total(solo.memory):.0f}" if solo else "-",
            f"{median(solo.cold_starts_s):.1f}" if solo else "-",
        )
    return table


def _targets(found: list[Finding]) -> Table:
    table = Table(title="Targets: median of the ratios of each round", title_justify="left")
    for name in ("target", "wanted", "measured", "rounds", "met"):
        table.add_column(name, justify="left" if name in ("target", "met") else "right")
    words = {True: "[green]yes[/]", False: "[red]no[/]", None: "not measured"}
    for finding in found:
        spread = "-"
        if finding.lowest is not None and finding.lowest != finding.highest:
            spread = f"{finding.lowest:.2f} to {finding.highest:.2f}"
        measured = "-" if finding.measured is None else f"{finding.measured:.2f}{finding.unit}"
        wanted = f"{'≥' if finding.at_least else '≤'} {finding.want:g}{finding.unit}"
        note = " (errors)" if finding.spoiled else ""
        table.add_row(finding.text, wanted, measured, spread, words[finding.met] + note)
    return table


def _short(value: float | None) -> str:
    """Three digits or a little more: a table is read, the file holds the rest."""
    if value is None:
        return "-"
    return f"{value:,.{2 if value < 10 else 1 if value < 100 else 0}f}"


def _medians(campaign: Campaign) -> list[dict[str, Any]]:
    groups: dict[tuple[float, int, str], list[Cell]] = defaultdict(list)
    rounds = rounds_of(campaign.cells)
    # In the order of the first round: by load, then as the contenders are listed.
    for cell in campaign.cells:
        groups[cell.share, cell.connections, cell.contender].append(cell)
    rows = []
    for (share, connections, contender), group in groups.items():
        row: dict[str, Any] = {
            "contender": contender,
            "connections": connections,
            "share": share,
            "failed": sum(cell.load.failed for cell in group),
            "cpu_us_per_request": median(map(_cpu_us, group)),
        }
        if not share:
            row["against"] = _against(contender, connections, rounds)
        row |= {name: median(getattr(cell.load, name) for cell in group) for name in _FIGURES}
        rows.append(row)
    return rows


def _against(contender: str, connections: int, rounds: list[Round]) -> dict[str, float]:
    """Requests per second as a multiple of each baseline: median of the rounds."""
    found = {}
    for peer in BASELINES:
        ratio = Ratio("", 0, (peer,), connections, contender=contender)
        if values := ratios(ratio, rounds):
            found[peer] = median(values)
    return found


def _cpu_us(cell: Cell) -> float:
    """Server CPU per right answer, warm-up and drain included on both sides."""
    return sum(cell.cpu_s.values()) / cell.load.answers * 1e6 if cell.load.answers else 0.0


def _noise(cells: list[Cell]) -> dict[str, float]:
    if not cells:
        return {}
    values = [value for cell in cells for value in cell.noise_ms]
    return {
        "lowest": min(values),
        "median": median(values),
        "highest": max(values),
        "foreign_cores": median(cell.foreign_cores for cell in cells),
    }


def _remarks(campaign: Campaign) -> list[str]:
    noise = _noise(campaign.cells)
    lines = [f"{name} was not measured: {why}" for name, why in campaign.missing.items()]
    if noise and noise["foreign_cores"] > _DISTURBED:
        lines.append("The machine was busy with other work: run again when it is quiet.")
    for row in _medians(campaign):
        where = f"{row['contender']} at {row['connections']} connections"
        if row["generator_cpu"] > _GENERATOR_BUSY:
            lines.append(f"{where}: the generator was busy, the server may be faster than shown")
    for cell in campaign.cells:
        if cell.load.failed:
            where = f"{cell.contender} at {cell.connections} connections, round {cell.round + 1}"
            example = f", for example {cell.load.wrong_example!r}" if cell.load.wrong else ""
            lines.append(f"{where}: {cell.load.wrong} wrong{example}; errors {cell.load.errors}")
    for name, solo in campaign.solos.items():
        if solo.killed_at_stop:
            lines.append(f"{name} left {solo.killed_at_stop} processes behind when it was stopped")
    return lines


def _total(memory: list[Memory]) -> float:
    return sum(process.pss for process in memory)
