"""The calibration in short, and its documents: tables that say what the results say."""

import json
import math
import re

import numpy as np
import pytest

from bench import calibrate
from bench.clusters import clusters
from bench.evidence_page import PAGE, all_results, rendered
from bench.evidence_tables import RATES, TABLES, markdown
from bench.like_with_like import Cell, _settings
from bench.queueing import Machine, serve
from bench.rules import SCENES, fates
from bench.stalls import stalls, timed
from bench.whole_loop import gates

RESULTS = all_results()


def test_the_page_says_what_the_results_say():
    page = PAGE.read_text(encoding="utf-8")
    assert page.count("<!-- table ") == len(TABLES)
    assert rendered(page, RESULTS) == page


def test_a_changed_result_would_change_the_page():
    page = PAGE.read_text(encoding="utf-8")
    changed = json.loads(json.dumps(RESULTS))
    changed["rules"][0]["rolled_back"] = changed["rules"][0]["runs"]
    assert rendered(page, changed) != page
    assert markdown(TABLES["rules"], changed).count("100.0%")


def test_kept_results_are_whole_and_keep_the_promises():
    assert set(RESULTS) == {*calibrate.SECTIONS, "control_run"}
    promised = [row for section in RATES for row in RESULTS[section]]
    assert len(promised) > 25
    assert not [row["name"] for row in promised if row["broken"]]
    assert max(row["runs"] for row in promised) >= 10_000


def test_the_run_with_real_processes_shows_every_setting():
    table = TABLES["control-run"]
    rows = table.cells(RESULTS)
    assert len(rows) == len({tuple(row[:3]) for row in rows}) == 8
    assert "load average" in markdown(table, RESULTS)


def test_clusters_counted_once_raise_no_false_alarm():
    rates = list(clusters(np.random.default_rng(31), 400))
    assert any("sticky client" in rate.name and "wrong" in rate.name for rate in rates)
    for rate in rates:
        assert not rate.broken, rate
        if "sticky client" in rate.name and "wrong" in rate.name:
            assert rate.hits / rate.runs > 0.3


def test_stalls_are_timed_once_and_raise_no_false_alarm():
    right, wrong = stalls(np.random.default_rng(37), 14, "stalls at 30 %, both have 50 %")
    assert not right.broken
    assert wrong.hits > 3 * max(right.hits, 1)


def test_the_model_of_queues_times_by_the_products_rule():
    for load in (0.2, 0.6):
        machine = Machine(max_batch=1, stalls=0.005)
        (run,) = serve(np.random.default_rng(38), machine, load * machine.capacity(), 60.0, 1, 1)
        assert (timed(run, np.zeros(len(run.rows), np.int64)) == run.timed).all()
        assert 0.1 < run.timed.mean() < 0.9


def test_a_ramp_that_depends_on_the_data_and_restarts_raise_no_false_alarm():
    rates = list(gates(np.random.default_rng(32), 400, 2))
    assert {rate.name.split(":")[0] for rate in rates} == {
        "errors",
        "error_rate",
        "latency",
        "predictions",
        "quality",
    }
    alone, *guarded = rates
    assert not alone.broken
    # Sixteen chances of 5 % at most: two are unlucky, three are wrong.
    assert sum(rate.hits for rate in guarded) <= 2


def test_replicas_batch_what_has_queued_and_lose_nothing():
    machine = Machine(fixed_s=0.01, per_row_s=0.001, max_batch=4, noise=1e-9)
    (run,) = serve(np.random.default_rng(33), machine, 250.0, 20.0, 1, 1)
    assert abs(run.rows.sum() - 5000) < 400
    assert 1 < run.rows.mean() <= run.rows.max() == 4
    # One thread: no batch begins before the one before it has ended.
    assert (np.diff(run.ended_s) >= run.model_s[1:] - 1e-9).all()
    assert (run.longest_s >= run.model_s - 1e-9).all()
    assert run.model_s == pytest.approx(0.01 + 0.001 * run.rows)


def test_a_request_that_meets_a_free_replica_waits_for_nobody():
    machine = Machine(noise=1e-9)
    (run,) = serve(np.random.default_rng(34), machine, 1.0, 200.0, 4, 1)
    assert (run.rows == 1).all()
    assert run.longest_s == pytest.approx(machine.fixed_s + machine.per_row_s)


def test_a_control_arm_finds_what_idleness_hides():
    outcomes = {
        each.cell.control: each
        for each in _settings(np.random.default_rng(35), 4, "plain", Machine(), 0.9, 0.25)
        if each.signal == "gateway"
    }
    assert outcomes[True].cell == Cell("plain", 0.9, 0.25, True)
    assert (outcomes[False].detected, outcomes[True].detected) == (0, 4)
    assert outcomes[False].false_alarms == outcomes[True].false_alarms == 0
    assert math.isfinite(outcomes[True].answers_to_detect)


def test_serinus_is_right_both_ways_where_thresholds_are_not():
    found = {(each.rule, each.base, each.candidate): each for each in fates_of(40)}
    for base, candidate in SCENES:
        mine = found["Serinus, any increase", base, candidate]
        if base == candidate:
            assert mine.rolled_back <= 2
            assert mine.promoted >= 15
        else:
            assert (mine.rolled_back, mine.promoted) == (40, 0)
    argo = found["Argo Rollouts, success >= 99 %, failureLimit 3", 0.01, 0.01]
    assert argo.rolled_back > 30


def fates_of(runs):
    return fates(np.random.default_rng(36), runs)


def test_the_example_of_the_page_runs(capsys):
    code = re.search(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    assert code is not None
    exec(compile(code[1], str(PAGE), "exec"), {})  # noqa: S102 - the page is ours
    odds, words = capsys.readouterr().out.split(maxsplit=1)
    assert int(odds) > 1
    assert words == "to 1 that the candidate is worse\n"
