"""`python -m bench.evidence_page`: writes the calibration's tables and picture into the documents.

Between ``<!-- table NAME -->`` and ``<!-- /table -->`` of docs/why/evidence.md stands what
`results/calibration.json` and `results/control_run.json` say, and nothing that an editor typed.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from bench.evidence_tables import TABLES, Results, markdown
from bench.marks import filled

__all__ = ["CALIBRATION", "CONTROL_RUN", "PAGE", "all_results", "rendered", "write_page"]

_ROOT = Path(__file__).resolve().parents[1]
PAGE = _ROOT / "docs" / "why" / "evidence.md"
IMAGES = _ROOT / "docs" / "images"
CALIBRATION = Path(__file__).parent / "results" / "calibration.json"
CONTROL_RUN = Path(__file__).parent / "results" / "control_run.json"
#: How many scenes have equal candidates.
_EQUAL = 2


def all_results() -> Results:
    """The calibration's sections, and the run with real processes as one more."""
    sections: Results = json.loads(CALIBRATION.read_text(encoding="utf-8"))["sections"]
    return sections | {"control_run": [json.loads(CONTROL_RUN.read_text(encoding="utf-8"))]}


def rendered(page: str, results: Results) -> str:
    """The page with every table as the results have it."""
    return filled(page, lambda name: markdown(TABLES[name], results))


def write_page(results: Results) -> None:
    """Page and picture."""
    PAGE.write_text(rendered(PAGE.read_text(encoding="utf-8"), results), encoding="utf-8")
    IMAGES.mkdir(exist_ok=True)
    draw(results["rules"], IMAGES / "rules")


def draw(rows: list[dict[str, Any]], stem: Path) -> None:
    """False aborts of equal candidates, and what users met of bad ones; PNG and SVG."""
    import matplotlib as mpl  # the benchmark's own dependency

    mpl.use("Agg")
    from matplotlib import pyplot

    mpl.rcParams["svg.hashsalt"] = "serinus"
    names = list(dict.fromkeys(row["rule"] for row in rows))
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 4.6), sharey=True)
    _bars(
        left,
        names,
        [row for row in rows if row["base"] == row["candidate"]],
        lambda row: 100.0 * row["rolled_back"] / row["runs"],
        "{:.0f} %",
    )
    left.set_xlim(0, 110)
    left.set_xlabel("equal candidates rolled back, %")
    bad = [row for row in rows if row["base"] != row["candidate"]]
    _bars(right, names, bad, lambda row: row["failed_met"], "{:.0f}")
    right.set_xscale("log")
    right.set_xlim(0.8, 400)
    right.set_xlabel("failed answers users met, mean (✗ promoted all the same)")
    left.set_yticks(range(len(names)), names)
    left.invert_yaxis()
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
    figure.tight_layout()
    figure.savefig(stem.with_suffix(".png"), dpi=110, bbox_inches="tight")
    figure.savefig(stem.with_suffix(".svg"), metadata={"Date": None}, bbox_inches="tight")
    pyplot.close(figure)


def _bars(axes: Any, names: list[str], rows: list[dict[str, Any]], value: Any, form: str) -> None:
    scenes = list(dict.fromkeys((row["base"], row["candidate"]) for row in rows))
    height = 0.8 / len(scenes)
    # Other colours on either side: they are other scenes.
    colours = ("#7f8fa6", "#b8c1d1") if len(scenes) == _EQUAL else ("#e0a030", "#c05020", "#601818")
    for place, (base, rate) in enumerate(scenes):
        chosen = {
            row["rule"]: row for row in rows if (row["base"], row["candidate"]) == (base, rate)
        }
        at = np.arange(len(names)) + (place - (len(scenes) - 1) / 2) * height
        values = [value(chosen[name]) for name in names]
        axes.barh(
            at,
            values,
            height * 0.9,
            color=colours[place],
            label=f"{base:.1%} → {rate:.1%} errors",
        )
        for y, name, x in zip(at, names, values, strict=True):
            row = chosen[name]
            missed = row["promoted"] / row["runs"]
            mark = f"  ✗ {missed:.0%}" if base != rate and missed > 0.005 else ""
            axes.text(x, y, " " + form.format(x) + mark, va="center", fontsize=7)


def main() -> int:
    """Write again from what is there."""
    write_page(all_results())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
