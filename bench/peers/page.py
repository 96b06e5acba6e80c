"""Writes the results into docs/why/speed.md: tables between their marks, and the pictures.

Nothing between ``<!-- table NAME -->`` and ``<!-- /table -->`` was typed by an editor.
"""

from bench.marks import filled
from bench.peers.environments import ROOT
from bench.peers.plots import draw_latency, draw_throughput
from bench.peers.tables import TABLES, Whole, markdown

__all__ = ["PAGE", "rendered", "write"]

PAGE = ROOT / "docs" / "why" / "speed.md"
_IMAGES = ROOT / "docs" / "images"
_NOTHING = "Not measured yet."
_THROUGHPUT, _OPEN = "speed-throughput.svg", "speed-open-loop.svg"


def rendered(page: str, whole: Whole) -> str:
    """The page with every table as the results have it. Raises KeyError for an unknown table."""
    return filled(page, lambda name: _text(name, whole))


def write(whole: Whole) -> None:
    """Page and pictures."""
    PAGE.write_text(rendered(PAGE.read_text(encoding="utf-8"), whole), encoding="utf-8")
    if whole["models"]:
        draw_throughput(whole["models"], _IMAGES / _THROUGHPUT)
    if _opened(whole):
        draw_latency(whole["models"]["M1"], _IMAGES / _OPEN)


def _text(name: str, whole: Whole) -> str:
    if name == "picture-throughput":
        picture = f"![Requests per second of each server, by model](../images/{_THROUGHPUT})"
        return picture if whole["models"] else _NOTHING
    if name == "picture-open-loop":
        picture = f"![p99 of each server against the rate asked for](../images/{_OPEN})"
        return picture if _opened(whole) else _NOTHING
    rows = TABLES[name](whole) if whole["models"] else [[]]
    return markdown(rows) if rows[0] else _NOTHING


def _opened(whole: Whole) -> bool:
    """Whether M1 was measured in an open loop."""
    section = whole["models"].get("M1", {"cells": []})
    return any(cell["share"] for cell in section["cells"])
