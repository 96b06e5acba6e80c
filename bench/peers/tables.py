"""The tables, for the terminal and for the page: a head, and rows of text. Reads figures only."""

from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.peers.catalogue import LIMITS, PEERS
from bench.peers.figures import (
    Section,
    connections_of,
    middle,
    noise,
    peers_of,
    ratio,
    spoiled,
)
from bench.peers.models import ABOUT
from bench.peers.targets import Finding, judge

__all__ = ["TABLES", "Rows", "Whole", "markdown", "show", "verdict"]

#: The whole results file.
Whole = Mapping[str, Any]
#: The head first.
Rows = list[list[str]]
_KINDS = {"serinus": 0, "peer": 1, "hand": 1, "limit": 2}
_TOP = 64
_OPEN_FIGURES = ("p50_ms", "p99_ms")


def _number(value: float | None) -> str:
    """Two or three significant digits, thousands with a comma."""
    if value is None:
        return "-"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _ordered(section: Section) -> list[str]:
    """Serinus, the peers by throughput, the limits."""
    known = PEERS | LIMITS
    names = [name for name in peers_of(section) if name in known]
    return sorted(names, key=lambda name: _KINDS[known[name].kind])


def throughput(section: Section) -> Rows:
    """Requests per second at each number of connections, and what Serinus is of it."""
    loads = connections_of(section)
    top = _TOP if _TOP in loads else loads[-1]
    head = ["server", *(f"{load} conn., req/s" for load in loads), f"Serinus ÷ it, {top}", "errors"]
    rows = []
    for name in _ordered(section):
        cells = [_number(middle(section, name, load)) for load in loads]
        against = "" if name == "serinus" else _number(ratio(section, "serinus", [name], top))
        rows.append([name, *cells, against, str(spoiled(section, name) or "")])
    return [head, *rows]


def latency(section: Section) -> Rows:
    """p50 and p99 of the closed loop."""
    loads = connections_of(section)
    head = ["server", *(f"{load} conn., p50 / p99 ms" for load in loads)]
    rows = []
    for name in _ordered(section):
        pairs = [
            " / ".join(_number(middle(section, name, load, each)) for each in ("p50_ms", "p99_ms"))
            for load in loads
        ]
        rows.append([name, *pairs])
    return [head, *rows]


def open_loop(section: Section) -> Rows:
    """Latency from the intended send time, at shares of each one's own capacity."""
    shares = sorted({cell["share"] for cell in section["cells"] if cell["share"]})
    head = ["server", *(f"{share:.0%} of capacity: req/s, p50 / p99 ms" for share in shares)]
    rows = []
    for name in _ordered(section):
        cells = [cell for cell in section["cells"] if cell["peer"] == name and cell["share"]]
        if cells:
            rows.append([name, *(_open_cell(cells, share) for share in shares)])
    return [head, *rows]


def _open_cell(cells: list[dict[str, Any]], share: float) -> str:
    found = [cell for cell in cells if cell["share"] == share and cell["right"]]
    if not found:
        return "-"
    rate = _number(median(cell["rate"] for cell in found))
    slow = " / ".join(_number(median(cell[each] for cell in found)) for each in _OPEN_FIGURES)
    return f"{rate}, {slow}"


def weight(whole: Whole) -> Rows:
    """Environment, memory, start and idling with M1."""
    section = whole["models"].get("M1")
    if section is None:
        return [[]]
    sizes = {name: each["mib"] for name, each in whole["environments"]["installed"].items()}
    head = [
        "server",
        "installed MiB",
        "memory MiB (PSS)",
        "processes",
        "cold start s",
        "idle cores",
    ]
    rows = []
    for name in _ordered(section):
        solo = section["solos"].get(name)
        if solo:
            peer = (PEERS | LIMITS)[name]
            start = median(solo["cold_starts_s"]) if solo["cold_starts_s"] else None
            size, memory = sizes.get(peer.environment), solo["pss_mib"]
            figures = [_number(size), _number(memory), str(solo["processes"]), _number(start)]
            rows.append([name, *figures, f"{solo['idle_cores']:.3f}"])
    return [head, *rows]


def in_process(whole: Whole) -> Rows:
    """Requests per second of one core that only calls the model."""
    head = ["model", "called as", "one at a time", "at the best batch", "batch", "Serinus, best"]
    rows = []
    for name, section in whole["models"].items():
        best = max((middle(section, "serinus", load) or 0) for load in connections_of(section))
        for form in ("mlflow", "bare"):
            sizes = _sizes(section, form)
            if sizes:
                top = max(sizes, key=lambda size: sizes[size])
                figures = [_number(sizes[1]), _number(sizes[top]), str(top)]
                rows.append([name, form, *figures, f"{best / sizes[top]:.0%} of it"])
    return [head, *rows]


def _sizes(section: Section, form: str) -> dict[int, float]:
    rounds = [each[form] for each in section["in_process"] if form in each]
    return {int(size): median(each[size] for each in rounds) for size in (rounds or [{}])[0]}


def cost(whole: Whole) -> Rows:
    """Where the time goes: CPU per answer by process, beside what the model alone takes."""
    head = [
        "model", "asked as", "conn.", "gateway µs", "replica µs", "the model alone, best batch, µs",
        "generator µs", "cores used",
    ]  # fmt: skip
    rows = []
    for name, section in whole["models"].items():
        for load in connections_of(section):
            cells = [
                cell
                for cell in section["cells"]
                if cell["peer"] == "serinus" and cell["connections"] == load and not cell["share"]
            ]
            if cells:
                form = section["solos"]["serinus"].get("form", "")
                rows.append([name, form, str(load), *_costs(cells, _sizes(section, "mlflow"))])
    return [head, *rows]


def _costs(cells: list[dict[str, Any]], sizes: dict[int, float]) -> list[str]:
    def of(role: str) -> float:
        return float(median(cell["cpu_us"].get(role, 0.0) for cell in cells))

    rate = median(cell["rps"] for cell in cells)
    generator = median(cell["generator_cpu"] for cell in cells)
    used = median(sum(cell["cpu_us"].values()) for cell in cells) * rate / 1e6 + generator
    alone = _number(1e6 / max(sizes.values())) if sizes else "-"
    generating = _number(1e6 * generator / rate) if rate else "-"
    return [_number(of("gateway")), _number(of("replica")), alone, generating, _number(used)]


def targets(whole: Whole) -> Rows:
    """Each target and what came of it."""
    rows = [_target(finding) for finding in judge(whole["models"])]
    return [["target", "wanted", "measured", "rounds", ""], *rows]


def _target(finding: Finding) -> list[str]:
    target = finding.target
    wanted = f"{'≥' if target.at_least else '≤'} {target.want:g}"
    spread = ""
    if finding.lowest is not None and finding.highest is not None:
        spread = f"{_number(finding.lowest)} … {_number(finding.highest)}"
    return [target.text, wanted, _number(finding.measured), spread, verdict(finding)]


def verdict(finding: Finding) -> str:
    """In a word."""
    if finding.measured is None:
        return "not measured"
    if finding.spoiled:
        return f"spoiled by {finding.spoiled} errors"
    if finding.full:
        return "**missed**: full, both are its backlog's"
    return "met" if finding.met else "**missed**"


def machine(whole: Whole) -> Rows:
    """What each model's section was measured on, and how quiet it was."""
    head = ["model", "date", "minutes", "load before", "fixed loop ms: least, median, most",
            "cores used by others"]  # fmt: skip
    rows = []
    for name, section in whole["models"].items():
        figures = ", ".join(_number(value) for value in noise(section["cells"]))
        before = section["machine"]["load_average_before"][0]
        foreign = median(cell["foreign_cores"] for cell in section["cells"])
        minutes = f"{section['took_s'] / 60:.0f}"
        rows.append([name, section["date"], minutes, _number(before), figures, _number(foreign)])
    return [head, *rows]


def versions(whole: Whole) -> Rows:
    """What was installed for each."""
    rows = [
        [name, " · ".join(f"{package} {number}" for package, number in each["versions"].items())]
        for name, each in whole["environments"]["installed"].items()
    ]
    return [["environment", "versions"], *rows]


def servers(_: Whole) -> Rows:
    """Who is who."""
    rows = [[peer.name, peer.about] for peer in (PEERS | LIMITS).values()]
    return [["server", "what it is"], *rows]


def left_out(whole: Whole) -> Rows:
    """Who was not measured, and why."""
    rows = [[f"environment {name}", why] for name, why in whole["environments"]["missing"].items()]
    rows += [[f"model {name}", why] for name, why in whole["not_made"].items()]
    for name, section in whole["models"].items():
        rows += [[f"{peer}, {name}", why] for peer, why in section["left_out"].items()]
    return [["left out", "why"], *rows]


def _of(model: str, table: Callable[[Section], Rows]) -> Callable[[Whole], Rows]:
    return lambda whole: table(whole["models"][model]) if model in whole["models"] else [[]]


TABLES: dict[str, Callable[[Whole], Rows]] = {
    "targets": targets,
    "servers": servers,
    **{f"throughput-{model}": _of(model, throughput) for model in ABOUT},
    **{f"latency-{model}": _of(model, latency) for model in ABOUT},
    "open-M1": _of("M1", open_loop),
    "open-M2": _of("M2", open_loop),
    "weight": weight,
    "in-process": in_process,
    "cost": cost,
    "machine": machine,
    "versions": versions,
    "left-out": left_out,
}
_SHOWN = ("weight", "in-process", "cost", "targets", "machine", "left-out")


def markdown(rows: Rows) -> str:
    """A table without rows says so."""
    if len(rows) < 2:
        return "Nobody."
    lines = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    lines.insert(1, ["---"] + ["--:"] * (len(lines[0]) - 1))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def show(whole: Whole, console: Console) -> None:
    """All tables of what is there."""
    for model, section in whole["models"].items():
        _print(f"{model}: {ABOUT[model]}", throughput(section), console)
        _print("", latency(section), console)
        if any(cell["share"] for cell in section["cells"]):
            _print("open loop, latency from the intended send time", open_loop(section), console)
    for name in _SHOWN:
        _print(name, TABLES[name](whole), console)


def _print(title: str, rows: Rows, console: Console) -> None:
    if len(rows) < 2:
        return
    table = Table(title=title or None, title_justify="left")
    for number, head in enumerate(rows[0]):
        table.add_column(head, justify="right" if number else "left")
    for row in rows[1:]:
        table.add_row(*row)
    console.print(table)
