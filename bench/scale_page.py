"""`python -m bench.scale_page`: writes the tables and plots of docs/why/scale.md from the results.

Between ``<!-- table NAME -->`` and ``<!-- /table -->`` stands what `results/scale.json` says, and
nothing that an editor typed.
"""

import json
from pathlib import Path
from typing import Any

from bench.marks import filled

__all__ = ["COSTS", "PAGE", "RESULTS", "rendered", "write_page"]

_ROOT = Path(__file__).resolve().parents[1]
PAGE = _ROOT / "docs" / "why" / "scale.md"
IMAGE = _ROOT / "docs" / "images" / "scale.svg"
RESULTS = Path(__file__).resolve().parent / "results" / "scale.json"
#: What costs something, by the name of its field.
COSTS = {
    "gateway_us": "gateway, CPU µs a request",
    "replica_us": "replica, CPU µs a request",
    "p50_ms": "latency p50, ms",
    "memory_mb": "gateway, memory MB",
    "applied_ms": "a new table is in force, ms",
    "idle_percent": "gateway at rest, % of a core",
    "turn_ms": "turn of the control loop, CPU ms",
}
_HEADS = {
    "requests_per_s": "requests a second",
    "p99_ms": "latency p99, ms",
    "replicas_idle_percent": "all replicas at rest, % of a core",
    "body_kb": "body, kB",
    "process": "process",
    "percent": "% of a core at rest",
    **COSTS,
}
_NUMBERS = {
    "endpoints": "endpoints",
    "versions": "versions of one endpoint",
    "connections": "idle connections",
    "rows": "rows of a request",
    "turns": "endpoints",
}

Report = dict[str, Any]


def rendered(page: str, report: Report) -> str:
    """The page with every table as the results have it."""
    return filled(page, lambda name: _table(name, report))


def write_page(report: Report) -> None:
    """Page and picture."""
    PAGE.write_text(rendered(PAGE.read_text(encoding="utf-8"), report), encoding="utf-8")
    draw(report)


def _table(name: str, report: Report) -> str:
    if name == "growth":
        return _growth(report)
    if name == "machine":
        noise = " and ".join(f"{each:g} ms" for each in report["noise_ms"])
        load = report["machine"]["load_average_before"][0]
        return (
            f"Measured {report['date'][:10]} on {report['machine']['cores']} cores of "
            f"{report['machine']['cpu']}, Python {report['machine']['python']}; a fixed loop took "
            f"{noise} before and after, the load average was {load}."
        )
    points = report["sections"][name]
    keys = [key for key in points[0] if key != "n" or name in _NUMBERS]
    rows = [[_NUMBERS.get(name, "n") if key == "n" else _HEADS[key] for key in keys]]
    rows.append(["--:" for _ in keys])
    rows += [[_cell(point[key]) for key in keys] for point in points]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _growth(report: Report) -> str:
    rows = [["by the number of", "cost", "slope", "between the last two", "linear at most"]]
    rows.append(["---", "---", "--:", "--:", "---"])
    rows += [
        [
            _NUMBERS[each["section"]],
            COSTS[each["cost"]],
            f"{each['overall']:.2f}",
            f"{each['at_the_end']:.2f}",
            "yes" if each["linear"] else "**no**",
        ]
        for each in report["growth"]
    ]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def draw(report: Report) -> None:
    """Costs over numbers, each on log-log axes beside a straight line."""
    import matplotlib as mpl  # the benchmark's own dependency

    mpl.use("Agg")
    from matplotlib import pyplot

    mpl.rcParams["svg.hashsalt"] = "serinus"
    shown = [name for name in _NUMBERS if name in report["sections"]]
    figure, axes = pyplot.subplots(1, len(shown), figsize=(4 * len(shown), 4.2))
    for place, name in zip(axes, shown, strict=True):
        _lines(place, name, report["sections"][name])
    figure.tight_layout()
    IMAGE.parent.mkdir(exist_ok=True)
    figure.savefig(IMAGE, metadata={"Date": None}, bbox_inches="tight")
    pyplot.close(figure)


def _lines(axes: Any, name: str, points: list[dict[str, Any]]) -> None:
    numbers = [point["n"] for point in points]
    for key, title in COSTS.items():
        if key in points[0]:
            axes.plot(numbers, [point[key] for point in points], marker="o", ms=3, label=title)
    low, high = axes.get_ylim()
    low = min(point[key] for point in points for key in COSTS if point.get(key, 0) > 0)
    axes.plot(numbers, [low * n / numbers[0] for n in numbers], ":", color="grey", label="linear")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(low / 2, max(high * 2, low * 4))
    axes.set_xlabel(_NUMBERS[name])
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=7, loc="lower left", bbox_to_anchor=(0, 1))


def main() -> int:
    """Write again from what is there."""
    write_page(json.loads(RESULTS.read_text(encoding="utf-8")))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
