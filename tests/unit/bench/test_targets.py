import pytest

from bench.processes import role
from bench.targets import FOUNDATION, Limit, Ratio, evaluate, ratios

_AT_LEAST = Ratio("t", 8, ("a", "b"), 64)
_AT_MOST = Ratio("p", 1.35, ("a", "b"), 1, field="p50_ms", at_least=False)


def _round(connections, field, **values):
    return {(name, connections): {field: value} for name, value in values.items()}


def test_more_is_held_against_the_fastest_peer():
    assert ratios(_AT_LEAST, [_round(64, "rps", serinus=80.0, a=10.0, b=5.0)]) == [8.0]


def test_less_is_held_against_the_quickest_peer():
    assert ratios(_AT_MOST, [_round(1, "p50_ms", serinus=3.0, a=2.0, b=6.0)]) == [1.5]


def test_ratios_are_of_one_round_and_the_median_counts():
    rounds = [
        _round(64, "rps", serinus=80.0, a=10.0, b=10.0),
        # The machine at half its speed: the ratio stays.
        _round(64, "rps", serinus=45.0, a=5.0, b=5.0),
        _round(64, "rps", serinus=10.0, a=10.0, b=10.0),
    ]
    (finding,) = evaluate([_AT_LEAST], rounds, {})
    assert (finding.measured, finding.lowest, finding.highest) == (8.0, 1.0, 9.0)
    assert finding.met is True


@pytest.mark.parametrize(("own", "met"), [(7.99, False), (8.0, True), (9.0, True)])
def test_at_least_includes_the_bound(own, met):
    (finding,) = evaluate([_AT_LEAST], [_round(64, "rps", serinus=own, a=1.0, b=1.0)], {})
    assert finding.met is met


@pytest.mark.parametrize(("own", "met"), [(1.35, True), (1.36, False)])
def test_at_most_includes_the_bound(own, met):
    (finding,) = evaluate([_AT_MOST], [_round(1, "p50_ms", serinus=own, a=1.0, b=1.0)], {})
    assert finding.met is met


@pytest.mark.parametrize(
    "cells",
    [
        {},
        _round(64, "rps", serinus=80.0, a=10.0),
        _round(64, "rps", a=10.0, b=10.0),
        _round(64, "rps", serinus=80.0, a=10.0, b=0.0),
        _round(16, "rps", serinus=80.0, a=10.0, b=10.0),
    ],
)
def test_a_side_that_was_not_measured_leaves_the_target_open(cells):
    (finding,) = evaluate([_AT_LEAST], [cells], {})
    assert finding.measured is None
    assert finding.met is None


def test_a_figure_with_wrong_answers_under_it_counts_for_nothing():
    cells = _round(64, "rps", serinus=800.0, a=1.0, b=1.0)
    cells["serinus", 64]["failed"] = 1.0
    (finding,) = evaluate([_AT_LEAST], [cells], {})
    assert finding.spoiled
    assert finding.met is False


def test_limits_are_taken_as_measured():
    limits = [Limit("m", 90, "gateway_mib", " MiB"), Limit("s", 5, "cold_start_s", " s")]
    memory, start = evaluate(limits, [], {"gateway_mib": 90.5})
    assert memory.met is False
    assert start.met is None


def test_the_foundation_is_judged_against_each_baseline():
    cells = {}
    for connections in (1, 64):
        for name in ("fastapi-sync", "fastapi-async-orjson", "mlflow", "serinus-constant"):
            cells[name, connections] = {"rps": 100.0, "p50_ms": 2.0}
        cells["serinus", connections] = {"rps": 6000.0, "p50_ms": 2.0}
    weights = {
        "gateway_mib": 80.0,
        "controller_mib": 140.0,
        "replica_over_bare_mib": 10.0,
        "cold_start_s": 4.0,
    }
    found = evaluate(FOUNDATION, [cells], weights)
    assert [finding.met for finding in found] == [True] * len(FOUNDATION)
    assert {finding.unit for finding in found} == {" x", " MiB", " s"}


@pytest.mark.parametrize(
    ("command", "is_root", "expected"),
    [
        ("python -m serinus.server.gateway", False, "gateway"),
        ("python -m serinus.server.controller", False, "controller"),
        ("python /x/serinus/replica/main.py --id 1", False, "replica"),
        ("/x/bin/serinus serve --model /gateway/m", True, "root"),
        ("uvicorn mlflow.pyfunc.scoring_server.app:app", False, "child"),
    ],
)
def test_a_process_is_weighed_under_its_role(command, is_root, expected):
    assert role(command.split(), is_root=is_root) == expected
