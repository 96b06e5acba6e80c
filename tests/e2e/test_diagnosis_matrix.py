"""A case of each class of the diagnosis matrix, on one running server: real replicas and requests.

All 72 are `make diagnose-matrix`.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from bench.diagnosis_artefacts import Artefacts, live_study
from bench.diagnosis_cases import Case, cases, controls, shifts
from bench.diagnosis_data import Study, flights
from bench.diagnosis_server import Server, served
from bench.diagnosis_stations import Asked, run, stations
from bench.diagnosis_traffic import varied
from bench.diagnosis_world import World, world

_ROWS = 1200
#: One of each class, and two faults at once: a client's letter case and a store's nulls.
_CHOSEN = {
    "2": "schema.semantics",
    "26": "availability.miss",
    "28": "staleness.old_value",
    "16": "preprocessing.transform",
    "33": "environment.transform",
    "22": "model.bug",
    "36": "routing.version",
    "43": "inconclusive.not_enough_data",
    "50d": "availability.miss",
    "month 7": "drift.covariate",
    "healthy 1, 1000 rows": "healthy",
}


@pytest.fixture(scope="module")
def where() -> World:
    return world(live_study(flights()), "linear", captured=4000)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served(tmp_path_factory.mktemp("matrix")) as server:
        yield server


def _chosen(study: Study) -> list[Case]:
    every = [*cases(study), *shifts(study), *controls(1)]
    return [
        replace(each, traffic=varied(each.traffic, rows=min(each.traffic.rows, _ROWS)))
        for each in every
        if {each.number, each.name} & _CHOSEN.keys()
    ]


def test_each_class_is_told_from_the_others_by_a_running_server(
    server: Server, where: World, tmp_path: Path
) -> None:
    some = _chosen(where.study)
    assert len(some) == len(_CHOSEN)
    artefacts = Artefacts(where, tmp_path)
    found: list[Asked] = []
    with ThreadPoolExecutor(5) as pool:
        for station in pool.map(
            lambda each: run(each, server, where, artefacts), stations(some, most=4)
        ):
            found += station.found
    said = {_name(each.case): each.said["detail"] for each in found}
    assert said == _CHOSEN
    assert [each.case.name for each in found if not each.right] == []
    assert all(each.sent.rows >= 1000 for each in found if each.case.number != "43")


def _name(case: Case) -> str:
    return case.number if case.number in _CHOSEN else case.name
