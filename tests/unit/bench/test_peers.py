"""Ratios, targets and the page of the peers' benchmark; what each peer is asked and told."""

import json
from pathlib import Path

import pytest

from bench.answers import AnswerCheck, Payload
from bench.models import BenchModel
from bench.peers import page, results
from bench.peers.catalogue import LIMITS, PEERS, QUICK, Seat, entrants, payloads, variables
from bench.peers.environments import ENVIRONMENTS, Environment, NotInstalled, install
from bench.peers.figures import middle, noise, ratio, ratios, spoiled
from bench.peers.mlserver import configure
from bench.peers.models import NAMES, Case
from bench.peers.open_inference import columns_body, tensor_body
from bench.peers.plots import draw_latency, draw_throughput
from bench.peers.proxied import envoy_config, haproxy_config
from bench.peers.services.served import predict_many
from bench.peers.tables import TABLES, markdown, targets, verdict
from bench.peers.targets import TARGETS, Target, judge

_RPS = {
    "serinus": 9000.0,
    "mlflow": 60.0,
    "fastapi-sync": 200.0,
    "fastapi-async": 300.0,
    "litserve-batched": 900.0,
}


def _cell(peer, connections=64, number=0, speed=1.0, **other):
    rps = _RPS[peer] * speed
    cell = {
        "peer": peer, "connections": connections, "round": number, "share": 0.0, "rate": 0.0,
        "noise_ms": [6.0 / speed, 6.0], "cpu_us": {"gateway": 20.0, "replica": 60.0},
        "foreign_cores": 0.1, "right": int(rps), "wrong": 0, "errors": {}, "rps": rps,
        "p50_ms": 1000 / rps, "p99_ms": 2000 / rps, "generator_cpu": 0.3,
    }  # fmt: skip
    return cell | other


def _section(cells):
    solo = {"cold_starts_s": [3.0, 5.0], "pss_mib": 250.0, "processes": 3, "idle_cores": 0.01,
            "restarts": 0}  # fmt: skip
    return {
        "date": "2026-01-02T03:04:05+00:00",
        "took_s": 600.0,
        "machine": {"load_average_before": [0.2, 0.1, 0.1]},
        "solos": {"serinus": solo, "mlflow": solo | {"pss_mib": 400.0}},
        "left_out": {"ray": "did not start"},
        "in_process": [{"mlflow": {"1": 400.0, "64": 12000.0}, "bare": {"1": 900.0, "64": 3e4}}],
        "cells": cells,
    }


@pytest.fixture
def section():
    # The second round runs on a machine half as fast, the third measured too few.
    cells = [_cell(peer, number=0) for peer in _RPS]
    cells += [_cell(peer, number=1, speed=0.5) for peer in _RPS]
    cells += [_cell("serinus", number=2, speed=2.0)]
    cells += [
        _cell("serinus", 256, number, share=share, rate=share * 9000, p99_ms=4.0, p50_ms=1.0)
        for number in range(2)
        for share in (0.3, 0.6, 0.9)
    ]
    return _section(cells)


def _whole(section):
    installed = {"serinus": {"mib": 700.0, "versions": {"serinus": "0.1.0"}}}
    environments = {"installed": installed, "missing": {"envoy": "no wheel for this system"}}
    return {"environments": environments, "models": {"M1": section}, "not_made": {"M3": "no torch"}}


def test_a_ratio_is_taken_within_each_round_and_only_then_its_median(section):
    assert ratios(section, "serinus", ["mlflow"], 64) == [150.0, 150.0]
    # Medians first would compare the third round's fast machine with the others' slow ones.
    assert ratio(section, "serinus", ["mlflow"], 64) == 150.0
    assert middle(section, "serinus", 64) == 9000.0


def test_the_best_of_the_peers_counts(section):
    hand = ["fastapi-sync", "fastapi-async", "nobody"]
    assert ratio(section, "serinus", hand, 64) == 30.0
    # Of a time the least is the best.
    assert ratio(section, "serinus", hand, 64, "p50_ms") == pytest.approx(300 / 9000)


def test_what_was_not_measured_has_no_ratio(section):
    assert ratio(section, "serinus", ["ray"], 64) is None
    assert ratio(section, "serinus", ["mlflow"], 16) is None
    dead = _section([_cell("serinus"), _cell("mlflow", right=0, rps=0.0)])
    assert ratio(dead, "serinus", ["mlflow"], 64) is None
    assert middle(dead, "mlflow", 64) is None


def test_a_tail_near_the_middle_is_no_good_one_where_both_are_a_backlog():
    def tail(p50_ms):
        cells = [
            _cell("serinus", 64),
            _cell("serinus", 256, share=0.6, rate=5400, p99_ms=2 * p50_ms, p50_ms=p50_ms),
        ]
        return next(each for each in judge({"M1": _section(cells)}) if each.target.kind == "tail")

    usual = 1000 / _RPS["serinus"]
    assert (tail(5 * usual).measured, tail(5 * usual).met) == (2.0, True)
    assert (tail(50 * usual).measured, tail(50 * usual).met) == (2.0, False)
    assert "backlog" in verdict(tail(50 * usual))


def test_targets_are_met_missed_spoiled_or_open(section):
    found = {finding.target.text: finding for finding in judge({"M1": section})}
    by_peer = {
        each: found[f"throughput, M1, 64 connections ÷ {each}"]
        for each in (
            "`mlflow models serve`",
            "the better hand-written handler",
            "the best batching peer",
        )
    }
    assert [finding.measured for finding in by_peer.values()] == [150.0, 30.0, 10.0]
    assert all(finding.met for finding in by_peer.values())
    assert found["p99 ÷ p50, M1, open loop at 60 % of capacity"].measured == 4.0
    assert found["p99 ÷ p50, M1, open loop at 60 % of capacity"].met is False
    assert found["memory, M1 ÷ `mlflow models serve`"].measured == 250 / 400
    assert found["throughput, M2, 64 connections ÷ `mlflow models serve`"].met is None
    section["cells"][0]["errors"] = {"status 503": 2}
    assert spoiled(section, "serinus") == 2
    spoilt = judge({"M1": section})[0]
    assert spoilt.measured == 150.0
    assert spoilt.met is False


def test_every_target_names_those_who_are_measured_with_its_model():
    for target in TARGETS:
        names = {peer.name for peer in entrants(target.model)}
        assert {target.own, *target.peers} <= names, target.text
    assert isinstance(TARGETS[0], Target)


def test_the_noise_is_its_least_median_and_most(section):
    assert noise(section["cells"]) == (3.0, 6.0, 12.0)
    assert noise([]) == (0.0, 0.0, 0.0)


def test_every_table_is_written_from_the_results(section):
    marks = "\n".join(f"<!-- table {name} -->\nTYPED\n<!-- /table -->" for name in TABLES)
    said = page.rendered(marks, _whole(section))
    assert "TYPED" not in said
    assert "| throughput, M1, 64 connections ÷ `mlflow models serve` | ≥ 120 | 150 |" in said
    assert "| mlflow | 45.0 | 150 |" in said
    assert "| environment envoy | no wheel for this system |" in said
    assert "| ray, M1 | did not start |" in said
    assert "| serinus | 700 | 250 | 3 | 4.00 | 0.010 |" in said
    assert "| M1 | mlflow | 400 | 12,000 | 64 | 75% of it |" in said
    # Of a model that was not measured nothing is said.
    assert (
        page.rendered("<!-- table latency-M4 -->\n<!-- /table -->", _whole(section)).count("|") == 0
    )
    assert page.rendered(said, _whole(section)) == said


def test_an_errors_column_shows_them(section):
    section["cells"][0]["wrong"] = 3
    row = next(row for row in TABLES["throughput-M1"](_whole(section)) if row[0] == "serinus")
    assert row[-1] == "3"
    assert targets(_whole(section))[1][-1] == "spoiled by 3 errors"


def test_a_table_survives_what_a_reason_may_hold():
    assert markdown([["why"], ["a | b\nc"]]).splitlines()[-1] == "| a \\| b c |"


def test_pictures_are_the_same_for_the_same_results(section, tmp_path):
    for name in ("one", "two"):
        draw_throughput({"M1": section}, tmp_path / f"{name}.svg")
        draw_latency(section, tmp_path / f"{name}-open.svg")
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    assert (tmp_path / "one-open.svg").read_bytes() == (tmp_path / "two-open.svg").read_bytes()


def test_the_page_is_as_the_results_have_it():
    text = page.PAGE.read_text(encoding="utf-8")
    assert page.rendered(text, results.kept(results.FULL)) == text


def test_a_models_results_replace_its_own_and_no_others(section, tmp_path):
    path = tmp_path / "peers.json"
    results.keep(path, _whole(section))
    results.keep(path, {"models": {"M4": _section([_cell("mlflow", rps=59.123456)])}})
    results.keep(path, {"not_made": {}})
    kept = results.kept(path)
    assert list(kept["models"]) == ["M1", "M4"]
    assert kept["models"]["M4"]["cells"][0]["rps"] == 59.12
    assert len(kept["models"]["M1"]["cells"]) == len(section["cells"])
    assert kept["not_made"] == {}
    assert kept["environments"]["missing"] == {"envoy": "no wheel for this system"}


# --- who is asked what


@pytest.fixture
def case():
    model = BenchModel("m2", Path("m2"), [], [])
    rows = [["EV", 2, 6.5], ["UA", 3, 7.5]]
    return Case("M2", model, Path("m2.pkl"), ["carrier", "month", "temp"], rows,
                [[{"0": 1}], [{"0": 0}]], [[1], [0]])  # fmt: skip


def test_each_peer_is_asked_for_each_row_in_its_own_form(case):
    for peer in (PEERS | LIMITS).values():
        asked = payloads(peer, case)
        assert len(asked) == 2
        head, _, body = asked[0].request.partition(b"\r\n\r\n")
        assert head.startswith(f"POST {peer.path} HTTP/1.1\r\n".encode())
        assert f"Content-Length: {len(body)}".encode() in head
        json.loads(body)
    assert payloads(PEERS["mlflow"], case)[0].predictions == [{"0": 1}]
    assert payloads(PEERS["fastapi-sync"], case)[0].predictions == [1]
    assert payloads(PEERS["bentoml-batched"], case)[0].body == b"[1]"
    assert b"\r\nX-Caller: bench\r\n" in payloads(PEERS["serinus-watched"], case)[0].request


def test_an_answer_of_the_open_inference_protocol_is_compared():
    check = AnswerCheck([Payload(b"", predictions=[1])])

    def right(*outputs):
        return check.right(0, json.dumps({"model_name": "served", "outputs": outputs}).encode())

    assert right({"name": "predict", "shape": [1, 1], "data": [1]})
    assert not right({"name": "predict", "shape": [1, 1], "data": [0]})
    assert not right({"name": "a", "data": [1]}, {"name": "b", "data": [1]})


def test_a_row_travels_by_columns_or_as_one_tensor():
    body = json.loads(columns_body(["a", "b", "c"], ["x", 1, 2.0]))
    assert body["parameters"] == {"content_type": "pd"}
    assert [each["datatype"] for each in body["inputs"]] == ["BYTES", "INT64", "FP64"]
    tensor = json.loads(tensor_body([1.0, 2.0]))["inputs"][0]
    assert (tensor["shape"], tensor["data"]) == ([1, 2], [1.0, 2.0])


def test_a_shared_call_is_cut_by_requests():
    class Sums:
        def predict(self, frame):
            return frame.sum(axis=1).to_numpy()

    splits = [{"columns": ["a", "b"], "data": rows} for rows in ([[1, 2]], [[3, 4], [5, 6]])]
    assert predict_many(Sums(), splits) == [[3], [7, 11]]


def test_peers_listen_on_the_loopback_and_tell_nobody(case, tmp_path):
    seat = Seat(4321, case, tmp_path, tmp_path / "bin")
    for peer in (PEERS | LIMITS).values():
        command = " ".join(peer.command(seat))
        assert "0.0.0.0" not in command
        # What takes an address from us gets this one; the others have no other in their code.
        assert "--host" not in command or "127.0.0.1" in command
    told = variables(seat)
    assert told["RAY_USAGE_STATS_ENABLED"] == "0"
    assert told["MLFLOW_DISABLE_TELEMETRY"] == "true"
    written = json.loads((tmp_path / "settings.json").read_text())
    assert (written["host"], written["http_port"]) == ("127.0.0.1", 4321)


def test_mlserver_batches_only_where_it_is_told_to(case, tmp_path):
    configure("mlflow", tmp_path, 1, case)
    assert "max_batch_size" not in json.loads((tmp_path / "model-settings.json").read_text())
    configure("mlflow-batched", tmp_path, 1, case)
    assert json.loads((tmp_path / "model-settings.json").read_text())["max_batch_size"] == 64


def test_proxies_split_ninety_to_ten():
    assert "weight 90" in haproxy_config(1, [2, 3])
    assert "bind 127.0.0.1:1\n" in haproxy_config(1, [2, 3])
    config = json.dumps(envoy_config(1, [2, 3]))
    assert '{"name": "back0", "weight": 90}, {"name": "back1", "weight": 10}' in config


def test_everybody_has_an_environment_and_quick_names_those_who_exist():
    for peer in (PEERS | LIMITS).values():
        assert not peer.environment or peer.environment in ENVIRONMENTS
        assert set(peer.models) <= set(NAMES)
    assert set(QUICK) <= set(PEERS)
    assert [peer.name for peer in entrants("M1", QUICK)] == [
        name for name in PEERS if name in QUICK
    ]


def test_what_is_not_there_is_named_with_the_way_to_it():
    absent = Environment("absent", (), models=False, system="no-such-command")
    with pytest.raises(NotInstalled, match="apt-get install no-such-command"):
        install(absent)
