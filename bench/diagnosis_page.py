"""`python -m bench.diagnosis_page`: writes the diagnosis matrix's tables into the documents.

Between ``<!-- table NAME -->`` and ``<!-- /table -->`` of docs/why/classify-before-retraining.md
stands what results/diagnosis*.json say, and nothing that an editor typed.
"""

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["HELD", "LIVE", "PAGE", "PROCESS", "keep", "kept", "rendered", "write_page"]

_ROOT = Path(__file__).resolve().parents[1]
PAGE = _ROOT / "docs" / "why" / "classify-before-retraining.md"
_RESULTS = Path(__file__).resolve().parent / "results"
#: Through a server, and in one process.
LIVE, PROCESS = _RESULTS / "diagnosis_live.json", _RESULTS / "diagnosis.json"
#: Worlds that no rule was written looking at, as they came out first and since.
HELD = _RESULTS / "diagnosis_held_out.json"
_TABLE = re.compile(r"(<!-- table (?P<name>[\w-]+) -->\n).*?(<!-- /table -->)", re.DOTALL)
_GROUPS = {
    "faults": "faults",
    "callers": "the same of one caller since noon",
    "shifts": "genuine shifts called drift",
    "controls": "healthy called healthy",
}

#: Column of the held-out tables, by number of the case or name of the group.
_HELD = {
    "client 100%": "clients' faults in all rows",
    "client 20%": "in 20 %",
    "client 5%": "in 5 %",
    "caller": "of one caller since noon",
    "store 100%": "stores' faults in all rows",
    "store 20%": "in 20 % ",
    "store 5%": "in 5 % ",
    "endpoint 100%": "inside the endpoint",
    "pair": "two at once",
    "own": "others",
    "shifts": "genuine shifts",
    "controls": "healthy",
}
_PLAIN = ("shifts", "controls")
_MANY = 4
_NOT_YET = "Not run yet."

Worlds = dict[str, dict[str, Any]]


def kept(path: Path) -> Worlds:
    """World → what was found in it; empty before the first whole run."""
    found: Worlds = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def keep(path: Path, name: str, found: dict[str, Any]) -> None:
    """Put one world's results in the place of those before, and write the page again."""
    path.write_text(json.dumps(kept(path) | {name: found}, indent=1) + "\n", encoding="utf-8")
    write_page()


def write_page() -> None:
    """The page, from the results that are there."""
    page = PAGE.read_text(encoding="utf-8")
    told = rendered(page, kept(LIVE), kept(PROCESS), kept(HELD))
    PAGE.write_text(told, encoding="utf-8")


def rendered(page: str, live: Worlds, process: Worlds, held: Worlds | None = None) -> str:
    """The page with every table as the results have it."""
    tables: dict[str, Callable[[], str]] = {
        "live": lambda: _figures(live),
        "live-flights": lambda: _matrix(_of(live, "flights")),
        "live-diamonds": lambda: _matrix(_of(live, "diamonds")),
        "live-misses": lambda: _misses(live),
        "live-missing": lambda: _out_of_reach(live),
        "process": lambda: _figures(process),
        "process-flights": lambda: _matrix(_of(process, "flights")),
        "process-misses": lambda: _misses(process),
        "held-first": lambda: _by_share(_run(held or {}, "first")),
        "held-since": lambda: _by_share(_run(held or {}, "since")),
        "held-matrix": lambda: _matrix(_rows(_run(held or {}, "since"))),
        "held-misses": lambda: _grouped(_run(held or {}, "since")),
    }

    def filled(match: re.Match[str]) -> str:
        return f"{match[1]}\n{tables[match['name']]()}\n\n{match[3]}"

    return _TABLE.sub(filled, page)


def _of(worlds: Worlds, dataset: str) -> list[dict[str, Any]]:
    """The rows of both models on one data set."""
    return [
        row
        for name, found in worlds.items()
        if name.startswith(dataset)
        for group in _GROUPS
        for row in found.get(group, ())
    ]


def _run(worlds: Worlds, when: str) -> Worlds:
    """The worlds of one run, by their names without it."""
    end = f", {when}"
    return {name.removesuffix(end): each for name, each in worlds.items() if name.endswith(end)}


def _rows(worlds: Worlds) -> list[dict[str, Any]]:
    return [row for found in worlds.values() for some in found.values() for row in some]


def _by_share(worlds: Worlds) -> str:
    if not worlds:
        return _NOT_YET
    lines = [
        _line("data, model", *_HELD.values()),
        _line(*["---"] * (len(_HELD) + 1)),
    ]
    for name, found in worlds.items():
        rows = {key: [] for key in _HELD} | {key: found.get(key, []) for key in _PLAIN}
        for row in found.get("faults", []):
            rows.setdefault(row["number"], []).append(row)
        lines.append(_line(name, *(_share(rows[key]) for key in _HELD)))
    return "\n".join(lines)


def _grouped(worlds: Worlds) -> str:
    """What came out wrong, one line for a fault whatever its share."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for world, groups in worlds.items():
        for row in (row for some in groups.values() for row in some if not row["right"]):
            spec, _, share = row["name"].partition(" in ")
            key = (world, spec if row["is"] != "healthy" else "healthy traffic", row["detail"])
            found.setdefault(key, []).append(share or "all rows")
    lines = [
        f"- {world}: {spec} ({_some(shares)}): said {said}"
        for (world, spec, said), shares in found.items()
    ]
    return "\n".join(lines) or ("None." if worlds else _NOT_YET)


def _some(shares: list[str]) -> str:
    return ", ".join(shares) if len(shares) < _MANY else f"{len(shares)} times"


def _figures(worlds: Worlds) -> str:
    groups = [name for name in _GROUPS if any(found.get(name) for found in worlds.values())]
    lines = [
        _line("data, model", *(_GROUPS[name] for name in groups)),
        _line(*["---"] * (len(groups) + 1)),
    ]
    for name, found in worlds.items():
        lines.append(_line(name, *(_share(found.get(group, [])) for group in groups)))
    return "\n".join(lines)


def _share(rows: list[dict[str, Any]]) -> str:
    return f"{sum(row['right'] for row in rows)} of {len(rows)}" if rows else ""


def _matrix(rows: list[dict[str, Any]]) -> str:
    counts = Counter((row["is"], row["said"]) for row in rows)
    said = sorted({each for _, each in counts})
    lines = [_line("is \\ said", *said), _line(*["---"] * (len(said) + 1))]
    for each in sorted({one for one, _ in counts}):
        lines.append(_line(each, *(str(counts[each, one] or "") for one in said)))
    return "\n".join(lines)


def _misses(worlds: Worlds) -> str:
    lines = [
        f"- {world}: case {row['number']}, {row['name']}: {_classes(row)}, said "
        f"{row.get('detail', row['said'])}"
        for world, found in worlds.items()
        for group in _GROUPS
        for row in found.get(group, ())
        if not row["right"]
    ]
    return "\n".join(lines) or "None."


def _classes(row: dict[str, Any]) -> str:
    return " and ".join([row["is"], *row["also"]])


def _out_of_reach(worlds: Worlds) -> str:
    reasons: dict[str, dict[str, None]] = {}
    for world, found in worlds.items():
        for number, why in found.get("in_process_only", {}).items():
            reasons.setdefault(f"case {number}: {why}", {})[world.partition(",")[0]] = None
    lines = [f"- {why} ({', '.join(names)})" for why, names in reasons.items()]
    return "\n".join(lines) or "None."


def _line(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    write_page()
