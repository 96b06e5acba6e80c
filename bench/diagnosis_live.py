"""The diagnosis matrix end to end: a real server, real replicas, real requests, its own diagnosis.

``python -m bench.diagnosis_live`` writes results/diagnosis_live.json and the document's tables; a
run of some cases writes nothing.
"""

import argparse
import sys
import tempfile
import time
import traceback
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from bench.diagnosis_artefacts import Artefacts, live_study
from bench.diagnosis_cases import Case, cases, controls, shifts
from bench.diagnosis_data import Study, diamonds, flights
from bench.diagnosis_page import LIVE, keep, kept
from bench.diagnosis_server import served
from bench.diagnosis_stations import Asked, Station, run, stations
from bench.diagnosis_world import world

__all__ = ["main"]

_STUDIES = {"flights": flights, "diamonds": diamonds}
_MODELS = ("linear", "tree")
_AT_ONCE = 5
#: Of a case that the server could not be asked.
_NOTHING = "nothing"
#: Number and name: two cases may share one of them.
_Place = tuple[str, str]


def main(arguments: list[str] | None = None) -> int:
    """Run what was asked for, print it and, of whole runs, keep it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", choices=[*_STUDIES, "all"], default="all")
    parser.add_argument("--model", choices=[*_MODELS, "all"], default="all")
    parser.add_argument("--cases", default="", help="numbers of cases, with commas between")
    parser.add_argument("--controls", type=int, default=25)
    parser.add_argument("--missing", action="store_true", help="only what is not kept yet")
    asked = parser.parse_args(arguments)
    for dataset, make in _STUDIES.items():
        if asked.dataset in (dataset, "all"):
            study = live_study(make())
            for kind in _MODELS:
                if asked.model in (kind, "all"):
                    name = f"{dataset}, {kind}"
                    known = kept(LIVE).get(name, {}) if asked.missing else {}
                    found = _of_world(study, kind, asked, known)
                    if not asked.cases:
                        keep(LIVE, name, found)
    return 0


def _of_world(
    study: Study, kind: str, asked: argparse.Namespace, known: dict[str, Any]
) -> dict[str, Any]:
    """Every case that was asked for; those in ``known`` are not run again."""
    begun = time.monotonic()
    print(f"\n{study.name}, {kind} model", flush=True)
    groups = {
        "faults": list(cases(study)),
        "shifts": list(shifts(study)),
        "controls": list(controls(asked.controls)),
    }
    if asked.cases:
        wanted = asked.cases.split(",")
        groups = {
            name: [each for each in some if each.number in wanted] for name, some in groups.items()
        }
    every = [case for some in groups.values() for case in some]
    rows = {
        _key(row): row for name in groups for row in known.get(name, ()) if row["said"] != _NOTHING
    }
    done = _run(study, kind, [each for each in every if _place(each) not in rows])
    rows |= {
        _place(each): _row(each, done.get(_place(each)))
        for each in every
        if _place(each) not in rows
    }
    body: dict[str, Any] = {
        name: [rows[_place(each)] for each in some] for name, some in groups.items()
    }
    body["seconds"] = round(time.monotonic() - begun) + known.get("seconds", 0)
    print(_summary(body), flush=True)
    return body


def _run(study: Study, kind: str, some: list[Case]) -> dict[_Place, Asked]:
    found: dict[_Place, Asked] = {}
    with tempfile.TemporaryDirectory(prefix="serinus-diagnosis-") as scratch:
        home = Path(scratch)
        where = world(study, kind)
        artefacts = Artefacts(where, home / "models")
        with served(home) as server, ThreadPoolExecutor(_AT_ONCE) as pool:
            waiting = {
                pool.submit(run, each, server, where, artefacts): each for each in stations(some)
            }
            for each in as_completed(waiting):
                if (error := each.exception()) is not None:
                    traceback.print_exception(error)
                for asked in _shown(waiting[each]):
                    found[_place(asked.case)] = asked
    return found


def _shown(station: Station) -> list[Asked]:
    for each in station.found:
        if not each.right:
            case, said = each.case, each.said
            patterns = "; ".join(
                f"{f['detail']} {f['pattern']} {','.join(f['features'][:3])} ({f['confidence']})"
                for f in said["findings"][:4]
            )
            print(
                f"  {case.number:6} {case.name}: {case.right} {'+'.join(case.also)}, said "
                f"{said['detail']} on {said['rows']} rows [{patterns}] {said['notes'][:2]} "
                f"{said['missing'][:3]}",
                flush=True,
            )
    return station.found


def _place(case: Case) -> _Place:
    return case.number, case.name


def _key(row: dict[str, Any]) -> _Place:
    return row["number"], row["name"]


def _row(case: Case, asked: Asked | None) -> dict[str, Any]:
    """One case as it is kept; what the server could not be asked is no right answer."""
    row = {"number": case.number, "name": case.name, "is": case.right, "also": list(case.also)}
    if asked is None:
        return {**row, "said": _NOTHING, "right": False}
    said = asked.said
    return {
        **row,
        "said": said["verdict"],
        "detail": said["detail"],
        "confidence": said["confidence"],
        "told": sorted(asked.told),
        "right": asked.right,
        "rows": asked.sent.rows,
        "counted": said["rows"],
        "requests": asked.sent.requests,
        "refused": asked.sent.refused,
    }


def _summary(body: dict[str, Any]) -> str:
    parts = []
    for name in ("faults", "shifts", "controls"):
        good = sum(each["right"] for each in body[name])
        parts.append(f"{name} right {good}/{len(body[name])}")
    return f"{'; '.join(parts)}; {body['seconds']} s"


if __name__ == "__main__":
    sys.exit(main())
