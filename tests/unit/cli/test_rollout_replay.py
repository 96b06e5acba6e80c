"""``serinus rollout replay`` against a stand-in server."""

import json
from typing import Any

import pytest
from inline_snapshot import snapshot
from typer.testing import CliRunner

from serinus.cli.app import app


def _decision(entry: int, *against: str, judged: bool = True) -> dict[str, Any]:
    return {
        "entry": entry,
        "at": "2026-03-01T12:00:00Z",
        "actor": "controller",
        "event": "observed",
        "from": "PROGRESSING",
        "to": "ROLLING_BACK" if judged else "PROGRESSING",
        "stage": 2,
        "candidate_bp": 0 if judged else 500,
        "next_bp": 5_000,
        "judged": judged,
        "stands": not against,
        "against": list(against),
        "verdicts": [{"name": "error_rate", "verdict": "REGRESSED", "reason": "[9 of 11]"}]
        if judged
        else [],
    }


def _replayed(*decisions: dict[str, Any]) -> dict[str, Any]:
    return {
        "rollout": "r1",
        "endpoint": "m",
        "stands": all(each["stands"] for each in decisions),
        "judged": sum(each["judged"] for each in decisions),
        "decisions": list(decisions),
    }


def test_what_stands_and_what_does_not_is_told(runner: CliRunner, stand_in: Any) -> None:
    stand_in.replayed = _replayed(_decision(4, judged=False), _decision(7, "It [is] not so."))
    found = runner.invoke(app, ["rollout", "replay", "m", "--id", "r1"])
    assert found.exit_code == 1
    assert stand_in.asked[0][1] == "/api/serinus/v1/endpoints/m/rollouts/r1/replay"
    assert found.stdout == snapshot("""\
┏━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━┳━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━┓
┃ entry ┃ decision                             ┃ to  ┃ verdicts             ┃ stands ┃
┡━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━╇━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━┩
│ 4     │ observed: PROGRESSING                │ 5 % │ -                    │ yes    │
│ 7     │ observed: PROGRESSING → ROLLING_BACK │ 0 % │ error_rate REGRESSED │ no     │
└───────┴──────────────────────────────────────┴─────┴──────────────────────┴────────┘
entry 7: It [is] not so.
2 decisions, 1 judged again from evidence: 1 do not stand
""")


@pytest.mark.parametrize(
    ("decisions", "code"),
    [([_decision(4)], 0), ([_decision(4), _decision(7, "No.")], 1), ([], 4)],
)
def test_the_exit_code_says_whether_all_stand(
    runner: CliRunner, stand_in: Any, decisions: list[dict[str, Any]], code: int
) -> None:
    stand_in.replayed = _replayed(*decisions)
    found = runner.invoke(app, ["rollout", "replay", "m", "-o", "json"])
    assert found.exit_code == code
    assert json.loads(found.stdout) == stand_in.replayed
    told = runner.invoke(app, ["rollout", "replay", "m"])
    assert (told.exit_code, "nothing was decided yet" in told.stdout) == (code, not decisions)
