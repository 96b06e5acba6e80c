"""How results of the calibration are shown: one description for the terminal and for the page."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

__all__ = ["RATES", "TABLES", "Shown", "cells", "markdown"]

#: Sections that are shares of rollouts in which something was called though nothing differed.
RATES = ("false_alarms", "latency_nulls", "clusters", "stalls", "gates")

Row = dict[str, Any]
Results = dict[str, list[Row]]


@dataclass(frozen=True)
class Shown:
    """One table: which sections it takes, its columns, and how a row becomes cells."""

    sections: tuple[str, ...]
    header: tuple[str, ...]
    cells: Callable[[Results], list[list[str]]]
    #: A sentence below it; None: there is nothing to say.
    note: Callable[[Results], str] | None = None


def cells(table: Shown, results: Results) -> list[list[str]]:
    """The table's cells."""
    return table.cells(results)


def markdown(table: Shown, results: Results) -> str:
    """The table as Markdown."""
    lines = [table.header, ["---"] * len(table.header), *cells(table, results)]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return text if table.note is None else f"{text}\n\n{table.note(results)}"


def _share(row: Row, name: str) -> str:
    part = row[name] / row["runs"]
    return f"{part:.0%}"


def _number(value: float | None, digits: int = 0) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _rates(results: Results) -> list[list[str]]:
    return [
        [
            row["name"],
            f"{row['runs']:,}",
            f"{row['hits'] / row['runs']:.2%}",
            f"{row['low']:.2%} … {row['high']:.2%}",
            "-" if row["nominal"] == 1 else f"{row['nominal']:.1%}",
        ]
        for section in RATES
        for row in results[section]
    ]


def _queue_rows(results: Results, signals: tuple[str, ...]) -> list[list[str]]:
    pairs: dict[tuple[Any, ...], dict[bool, Row]] = {}
    for row in results["queues"]:
        key = (row["machine"], row["load"], row["share"], row["signal"])
        if row["signal"] in signals:
            pairs.setdefault(key, {})[row["control"]] = row
    return [
        [
            machine,
            f"{load:.0%}",
            f"{share:.0%}",
            signal,
            *(
                _share(row, name)
                for name in ("false_alarms", "detected", "passed")
                for row in (both[False], both[True])
            ),
            " / ".join(_number(both[control]["answers_to_detect"]) for control in (False, True)),
        ]
        for (machine, load, share, signal), both in pairs.items()
    ]


def _queue_ramps(results: Results) -> list[list[str]]:
    return [
        [
            f"{row['load']:.0%}",
            "yes" if row["control"] else "no",
            "equal" if row["slower"] == 1 else f"{row['slower']:g} x slower",
            _share(row, "promoted"),
            _share(row, "rolled_back"),
            f"{1 - (row['promoted'] + row['rolled_back']) / row['runs']:.0%}",
            _number(row["answers"]),
        ]
        for row in results["queue_ramps"]
    ]


def _findings(results: Results) -> list[list[str]]:
    return [
        [
            row["name"],
            f"{row['share']:.0%}",
            _number(row["median"]),
            f"{_number(row['low'])} … {_number(row['high'])}",
            _number(row["late"]),
            _number(row["published"]) + (" (censored)" if row["censored"] else ""),
            f"{row['median'] / row['published']:.2f}"
            if row["median"] is not None
            else "not in time",
            "behind" if row["behind"] else "",
        ]
        for section in ("detection", "slowness")
        for row in results[section]
    ]


def _journeys(results: Results) -> list[list[str]]:
    return [
        [
            f"{row['per_second']:g}/s",
            f"{row['base']:.1%}",
            row["guardrails"],
            "yes" if row["control"] else "no",
            _number(row["median"], 1),
            _number(row["late"], 1),
            _number(row["published"]),
        ]
        for row in results["journeys"]
    ]


def _control_run(results: Results) -> list[list[str]]:
    (report,) = results["control_run"]
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in report["rollouts"]:
        key = (row["load"], row["part"], row["control"], row["slower"])
        found.setdefault(key, []).append(row)
    return [
        [
            f"{load} ({part:.0%})",
            "yes" if control else "no",
            "equal" if slower == 1 else f"{slower:g} x slower",
            *(
                f"{sum(row['outcome'] == outcome for row in rows)} of {len(rows)}"
                for outcome in ("promoted", "rolled back", "held")
            ),
            _number(median(row["seconds"] for row in rows)),
            _number(median(row["candidate_requests"] for row in rows)),
        ]
        for (load, part, control, slower), rows in sorted(
            found.items(), key=lambda each: (each[0][1], each[0][2], each[0][3])
        )
    ]


def _control_machine(results: Results) -> str:
    (report,) = results["control_run"]
    machine = report["machine"]
    return (
        f"Taken on {machine['cores']} cores, at a load average of"
        f" {machine['load_average_before'][0]:.1f} before it began; a fixed loop took"
        f" {report['noise_ms'][0]:.0f} ms before and {report['noise_ms'][-1]:.0f} ms after."
    )


def _rules(results: Results) -> list[list[str]]:
    by_rule: dict[str, list[Row]] = {}
    for row in results["rules"]:
        by_rule.setdefault(row["rule"], []).append(row)
    lines = []
    for rule, rows in by_rule.items():
        line = [rule]
        for row in rows:
            equal = row["base"] == row["candidate"]
            fallen, passed = row["rolled_back"] / row["runs"], row["promoted"] / row["runs"]
            line.append(
                f"{fallen:.1%} · {passed:.0%}"
                if equal
                else f"{passed:.1%} · {row['failed_met']:,.1f} · {row['exposed']:,.0f}"
            )
        lines.append([*line, _promotion(rule, results)])
    return lines


#: Requests of a ramp by time: four steps of five minutes at 20 requests/s.
_BY_TIME = 24_000


def _promotion(rule: str, results: Results) -> str:
    if not rule.startswith("Serinus, default"):
        return f"{_BY_TIME:,}"
    (row,) = (
        row
        for row in results["journeys"]
        if (row["per_second"], row["base"], row["guardrails"]) == (20, 0.001, "error_rate")
    )
    return f"{row['median'] * 60 * row['per_second']:,.0f}"


_QUEUE_COLUMNS = (
    "replicas",
    "load",
    "share",
    "signal",
    "false alarms, no control",
    "with control",
    "1.5 x slower found, no control",
    "with control",
    "1.5 x slower called SAFE for all, no control",
    "with control",
    "answers to find it",
)

TABLES = {
    "false-alarms": Shown(
        RATES,
        ("when nothing differs", "rollouts", "false alarms", "95 % interval", "allowed"),
        _rates,
    ),
    "queues": Shown(
        ("queues",),
        _QUEUE_COLUMNS,
        lambda results: _queue_rows(results, ("gateway", "model")),
    ),
    "queue-rows": Shown(
        ("queues",),
        _QUEUE_COLUMNS,
        lambda results: [
            line for line in _queue_rows(results, ("row",)) if line[0] in ("plain", "stalls")
        ],
    ),
    "queue-ramps": Shown(
        ("queue_ramps",),
        (
            "load",
            "control",
            "candidate",
            "promoted",
            "rolled back",
            "held",
            "its answers until then, median",
        ),
        _queue_ramps,
    ),
    "detection": Shown(
        ("detection", "slowness"),
        (
            "verdict",
            "share",
            "median",
            "its 95 % interval",
            "p90",
            "published",
            "ratio",
            "beyond 1.10",
        ),
        _findings,
    ),
    "journeys": Shown(
        ("journeys",),
        (
            "traffic",
            "errors",
            "guardrails",
            "control",
            "median minutes",
            "p90",
            "published median",
        ),
        _journeys,
    ),
    "control-run": Shown(
        ("control_run",),
        (
            "load",
            "control",
            "candidate",
            "promoted",
            "rolled back",
            "held",
            "seconds until then, median",
            "its answers until then, median",
        ),
        _control_run,
        _control_machine,
    ),
    "rules": Shown(
        ("rules", "journeys"),
        (
            "rule",
            "0.5 % = 0.5 %: false aborts · promoted",
            "1 % = 1 %",
            "0.1 % to 0.8 %: promoted · failures met · exposed",
            "1 % to 3 %",
            "0.1 % to 20 %",
            "requests to promotion",
        ),
        _rules,
    ),
}
