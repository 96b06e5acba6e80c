import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from bench.campaign import Campaign, Cell, Plan, Solo
from bench.latency import LoadResult
from bench.models import BenchModel
from bench.processes import Memory
from bench.report import findings, show, to_json

_AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
_NAMES = ("fastapi-sync", "fastapi-async-orjson", "mlflow", "serinus", "serinus-constant")
_RPS = dict(zip(_NAMES, (100.0, 200.0, 20.0, 4000.0, 8000.0), strict=True))


def _cell(name, connections, number, speed=1.0, **load):
    rps = _RPS[name] * speed
    result = LoadResult(connections, 0.0, 2.0, right=int(rps * 2), answers=int(rps * 2), rps=rps)
    result.p50_ms = 1000 / rps
    for field, value in load.items():
        setattr(result, field, value)
    return Cell(name, connections, number, result, (5.0 / speed, 5.0), {"root": 1.0}, 0.1)


@pytest.fixture
def campaign():
    plan = Plan(contenders=_NAMES, connections=(1, 64), rounds=2)
    model = BenchModel("m1", Path("m1"), [b"{}"], [[1]])
    made = Campaign(plan, model, Path("work"), Console(file=io.StringIO()))
    # The second round runs on a machine half as fast.
    for number, speed in enumerate((1.0, 0.5)):
        for connections in plan.connections:
            made.cells += [_cell(name, connections, number, speed) for name in _NAMES]
    made.bare_mib = 200.0
    made.ceiling = {1: LoadResult(1, 0.0, 1.0, rps=30000.0)}
    sizes = {"gateway": 32.0, "controller": 151.0, "replica": 240.0}
    memory = [Memory(role, pss, pss - 1, pss + 1) for role, pss in sizes.items()]
    made.solos = {name: Solo([3.0], memory=memory) for name in _NAMES[:4]}
    return made


def _shown(campaign):
    out = io.StringIO()
    show(campaign, Console(file=out, width=132))
    return out.getvalue()


def test_targets_come_from_ratios_within_rounds_and_from_the_weights(campaign):
    found = findings(campaign)
    assert [finding.measured for finding in found] == [40, 20, 200, 0.5, 0.05, 32, 151, 40, 3]
    assert [finding.met for finding in found] == [True] * 6 + [False, True, True]


def test_a_process_that_was_not_found_leaves_its_target_open(campaign):
    campaign.solos["serinus"].memory.pop()
    assert [finding.met for finding in findings(campaign)][-2] is None


def test_other_models_are_not_judged_by_the_targets_of_m1(campaign):
    other = BenchModel("m0", Path("m0"), [b"{}"], [[1]])
    plan = Plan(contenders=_NAMES)
    unjudged = Campaign(plan, other, Path("work"), Console(file=io.StringIO()))
    unjudged.cells = campaign.cells
    assert findings(unjudged) == []
    assert "Targets" not in _shown(unjudged)


def test_the_tables_show_every_contender_and_what_was_missed(campaign):
    text = _shown(campaign)
    rows = [line for line in text.splitlines() if line.startswith("│ serinus ")]
    assert len(rows) == 2
    cells = [cell.strip() for cell in rows[1].split("│")[1:-1]]
    assert cells[:6] == ["serinus", "64", "3,000", "40.0", "20.0", "200"]
    missed = [line for line in text.splitlines() if "memory of the controller" in line]
    assert "151.00 MiB" in missed[0]
    assert missed[0].rstrip(" │").endswith("no")
    assert "30,000 req/s" in text


def test_wrong_answers_and_errors_are_told_and_spoil_the_figure(campaign):
    campaign.cells.append(
        _cell("serinus", 64, 2, wrong=3, wrong_example="[0]", errors={"reset": 2})
    )
    text = _shown(campaign)
    assert "serinus at 64 connections, round 3: 3 wrong, for example '[0]'" in text
    assert "'reset': 2" in text
    assert findings(campaign)[0].met is False


def test_what_weakens_a_run_is_told(campaign):
    campaign.missing["mlflow"] = "DidNotStart"
    campaign.solos["serinus"].killed_at_stop = 2
    campaign.cells.append(_cell("serinus-constant", 64, 2, generator_cpu=0.99))
    campaign.cells = [cell for cell in campaign.cells if cell.round == 2]
    text = _shown(campaign)
    assert "mlflow was not measured: DidNotStart" in text
    assert "serinus left 2 processes behind" in text
    assert "the generator was busy" in text


def test_the_file_holds_all_cells_and_the_verdicts(campaign):
    machine = {"cpu": "x", "cores": 2}
    data = json.loads(json.dumps(to_json(campaign, Plan(contenders=_NAMES), machine, _AT)))
    assert data["date"] == "2026-01-02T03:04:05+00:00"
    assert data["machine"] == machine
    assert len(data["cells"]) == 20
    assert [target["met"] for target in data["targets"]].count(False) == 1
    serinus = next(
        row for row in data["medians"] if (row["contender"], row["connections"]) == ("serinus", 64)
    )
    assert serinus["against"] == {
        "fastapi-sync": 40.0,
        "fastapi-async-orjson": 20.0,
        "mlflow": 200.0,
    }
    # One CPU second for 8000, then for 4000 answers.
    assert serinus["cpu_us_per_request"] == pytest.approx((125 + 250) / 2)
    assert data["noise_ms"]["highest"] == 10.0
