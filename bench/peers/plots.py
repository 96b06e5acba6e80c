"""The pictures of docs/why/speed.md, from the results file: SVG, the same for the same data."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.peers.catalogue import LIMITS, PEERS
from bench.peers.figures import Section, connections_of, middle, peers_of

__all__ = ["draw_latency", "draw_throughput"]

_COLOURS = {"serinus": "#c05020", "peer": "#b8c1d1", "hand": "#7f8fa6", "limit": "#dddddd"}
_BATCHING = "#8fb08c"
_TOP = 64


def draw_throughput(sections: Mapping[str, Section], path: Path) -> None:
    """A panel for each model: requests per second at 64 connections, on a logarithmic scale."""
    shown = {name: each for name, each in sections.items() if _TOP in connections_of(each)}
    if not shown:
        return
    pyplot = _pyplot()
    tallest = max(len(peers_of(section)) for section in shown.values())
    figure, panels = pyplot.subplots(
        1, len(shown), figsize=(4.6 * len(shown), 0.27 * tallest + 1), squeeze=False
    )
    for axes, (name, section) in zip(panels[0], shown.items(), strict=True):
        _bars(axes, section)
        axes.set_title(f"{name}, {_TOP} connections, requests/s", fontsize=9, loc="left")
    _save(pyplot, figure, path)


def draw_latency(section: Section, path: Path) -> None:
    """p99 in an open loop against the rate that was asked for; a line for each server."""
    pyplot = _pyplot()
    figure, axes = pyplot.subplots(figsize=(8, 5))
    known = PEERS | LIMITS
    for name in peers_of(section):
        cells = [cell for cell in section["cells"] if cell["peer"] == name and cell["share"]]
        rates = sorted({cell["share"] for cell in cells})
        points = [_point(cells, share) for share in rates]
        if points and name in known:
            colour = _colour(name)
            axes.plot(*zip(*points, strict=True), marker="o", color=colour, linewidth=1.2)
            axes.annotate(name, points[-1], fontsize=7, xytext=(4, 0), textcoords="offset points")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("requests/s asked for (30, 60, 90 % of what each can do)")
    axes.set_ylabel("p99 from the intended send time, ms")
    axes.spines[["top", "right"]].set_visible(False)
    _save(pyplot, figure, path)


def _point(cells: list[dict[str, Any]], share: float) -> tuple[float, float]:
    from statistics import median

    found = [cell for cell in cells if cell["share"] == share]
    return median(cell["rate"] for cell in found), median(cell["p99_ms"] for cell in found)


def _bars(axes: Any, section: Section) -> None:
    known = PEERS | LIMITS
    rates = {name: middle(section, name, _TOP) or 0.0 for name in peers_of(section)}
    names = [name for name in rates if rates[name] and name in known]
    places = range(len(names))
    axes.barh(
        places, [rates[name] for name in names], 0.75, color=[_colour(name) for name in names]
    )
    for place, name in zip(places, names, strict=True):
        axes.text(rates[name], place, f" {rates[name]:,.0f}", va="center", fontsize=7)
    axes.set_yticks(places, names, fontsize=7)
    axes.tick_params(axis="x", labelsize=7)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlim(right=max(rates.values()) * 3)
    axes.spines[["top", "right"]].set_visible(False)


def _colour(name: str) -> str:
    peer = (PEERS | LIMITS)[name]
    return _BATCHING if peer.kind == "peer" and peer.batches else _COLOURS[peer.kind]


def _pyplot() -> Any:
    import matplotlib as mpl  # the benchmark's own dependency

    mpl.use("Agg")
    from matplotlib import pyplot

    mpl.rcParams["svg.hashsalt"] = "serinus"
    return pyplot


def _save(pyplot: Any, figure: Any, path: Path) -> None:
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None}, bbox_inches="tight")
    pyplot.close(figure)
