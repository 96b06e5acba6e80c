"""A dozen cases of the diagnosis matrix on a real model, through real intake, counts and replay."""

import pytest

from bench.diagnosis_cases import cases, controls, shifts
from bench.diagnosis_data import Study, flights
from bench.diagnosis_traffic import varied
from bench.diagnosis_world import World, world
from serinus.parity.diagnosis.diagnose import diagnose

_CASES = ("1", "4", "9", "15", "16", "18", "22", "25", "28", "31", "33", "36", "47", "50")


@pytest.fixture(scope="module")
def study() -> Study:
    return flights()


@pytest.fixture(scope="module")
def where(study: Study) -> World:
    return world(study, "linear", captured=4000)


def test_each_class_is_told_from_the_others(study: Study, where: World) -> None:
    wrong = []
    for case in cases(study):
        if case.number in _CASES:
            said = diagnose(where.snapshot(varied(case.traffic, rows=1600)))
            if said.verdict.value != case.right:
                wrong.append((case.name, case.right, said.detail))
    assert wrong == []


def test_the_world_and_healthy_traffic_accuse_nobody(study: Study, where: World) -> None:
    some = [each for each in shifts(study) if each.name in ("month 7", "only JFK")]
    for case in (*some, *controls(1)):
        said = diagnose(where.snapshot(varied(case.traffic, rows=1600)))
        assert said.verdict.value == case.right, (case.name, said.findings[:1])
