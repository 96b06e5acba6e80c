"""``serinus rollout`` and ``serinus apply`` against a stand-in server."""

import getpass
import io
import json
from pathlib import Path
from typing import Any

import pytest
from inline_snapshot import snapshot
from rich.console import Console
from typer.testing import CliRunner

from serinus.cli import rollout_screen
from serinus.cli.app import app
from serinus.cli.rollout_screen import picture
from serinus.client import Client, ServerUnreachable
from tests.unit.cli.conftest import rollout

OURS = "/api/serinus/v1/endpoints/m"
SPEC = """\
kind: Rollout
endpoint: m
candidate: models:/m/2
steps:
  - set_weight: 5%
  - pause: {for: 10m}
on: {undecided: rollback}
notify: [{webhook: "https://a.example/x", on: [paused]}]
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout_screen, "_POLL_S", 0.001)


def run(runner: CliRunner, *arguments: str) -> Any:
    return runner.invoke(app, ["rollout", *arguments])


def test_start_sends_what_was_asked_for(runner: CliRunner, stand_in: Any) -> None:
    stand_in.rollouts = [rollout("PENDING", 0)]
    options = ["--strategy", "canary", "--steps", "1,2.5%,50", "--no-guardrails", "-o", "json"]
    found = run(runner, "start", "m", "--candidate", "models:/m/2", *options)
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["phase"] == "PENDING"
    assert stand_in.asked == [
        (
            "POST",
            f"{OURS}/rollouts",
            {
                "candidate": "models:/m/2",
                "strategy": "canary",
                "steps": [{"set_weight": weight} for weight in ("1%", "2.5%", "50%")],
                "guardrails": [],
            },
        )
    ]


def test_start_takes_a_waiver_and_status_tells_of_the_verification(
    runner: CliRunner, stand_in: Any
) -> None:
    gate = {"name": "golden_replay", "result": "fail", "class": "model", "stage": "S4"}
    verification = {"status": "ended", "result": "fail", "gates": [gate | {"detail": "row 3"}]}
    stand_in.rollouts = [rollout("PENDING", 0) | {"verification": verification}]
    waiver = ["--waive-verification", "known"]
    found = run(runner, "start", "m", "--candidate", "models:/m/2", *waiver)
    assert found.exit_code == 0, found.output
    sent = {"candidate": "models:/m/2", "waive_verification": "known"}
    assert stand_in.asked == [("POST", f"{OURS}/rollouts", sent)]
    assert "verification failed at golden_replay (model, S4): row 3" in found.output
    waived = verification | {"result": "waived", "waived": "ada: known"}
    stand_in.rollouts = [rollout("PROGRESSING", 0) | {"verification": waived}]
    assert "verification waived by ada: known" in run(runner, "status", "m").output


def test_start_takes_a_file_and_options_go_over_it(runner: CliRunner, stand_in: Any) -> None:
    stand_in.rollouts = [rollout()]
    Path("spec.yaml").write_text(SPEC)
    found = run(runner, "start", "m", "-f", "spec.yaml", "--candidate", "models:/m/3")
    assert found.exit_code == 0, found.output
    ((_, _, sent),) = stand_in.asked
    assert sent["candidate"] == "models:/m/3"
    assert sent["on"] == {"undecided": "rollback"}
    assert sent["notify"] == [{"webhook": "https://a.example/x", "on": ["paused"]}]


def test_a_candidate_on_disk_is_named_in_full(runner: CliRunner, stand_in: Any) -> None:
    stand_in.rollouts = [rollout()]
    run(runner, "start", "m", "--candidate", "models/two")
    assert stand_in.asked[0][2]["candidate"] == str(Path("models/two").absolute())


def test_status_for_people(runner: CliRunner, stand_in: Any) -> None:
    stand_in.rollouts = [rollout()]
    assert run(runner, "status", "m").stdout == snapshot("""\
PROGRESSING at 5 %, step 2 of 3: The candidate takes 5%.
m-1 → m-2
waits for latency to be SAFE
┏━━━━━━━━━━━┳━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━┓
┃ guardrail ┃ verdict   ┃ reason           ┃
┡━━━━━━━━━━━╇━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━┩
│ latency   │ UNDECIDED │ p99 [ms] is open │
└───────────┴───────────┴──────────────────┘
""")


@pytest.mark.parametrize(
    ("phase", "code"), [("SUCCEEDED", 0), ("BAKING", 0), ("ROLLED_BACK", 1), ("FAILED", 1)]
)
def test_watching_ends_with_what_came_out(
    runner: CliRunner, stand_in: Any, phase: str, code: int
) -> None:
    steps = [rollout("PENDING", 0), rollout(), rollout(), rollout("PAUSED"), rollout(phase, 9_500)]
    stand_in.rollouts = list(steps)
    found = run(runner, "status", "m", "--watch", "-o", "json")
    assert found.exit_code == code
    assert json.loads(found.stdout)["phase"] == phase
    said = [line.split(":")[0] for line in found.stderr.splitlines()]
    assert [line.split()[0] for line in said] == ["PROGRESSING", "PAUSED", phase]
    assert "waits for latency to be SAFE  latency UNDECIDED" in found.stderr


def test_starting_may_watch_too(runner: CliRunner, stand_in: Any) -> None:
    stand_in.rollouts = [rollout(), rollout("SUCCEEDED", 10_000)]
    found = run(runner, "start", "m", "--candidate", "models:/m/2", "--watch")
    assert found.exit_code == 0
    assert "SUCCEEDED at 100 %" in found.stdout


def test_watching_too_long_is_undecided(runner: CliRunner, stand_in: Any) -> None:
    stand_in.rollouts = [rollout("PAUSED")]
    found = run(runner, "status", "m", "--watch", "--timeout", "0", "-o", "json")
    assert (found.exit_code, json.loads(found.stdout)["phase"]) == (4, "PAUSED")


def test_a_controller_that_stays_away_is_a_server_that_is_gone(stand_in: Any) -> None:
    stand_in.refusal = (503, {"error_code": "TEMPORARILY_UNAVAILABLE", "message": "away"})
    with Client(stand_in.url, patience_s=0.0) as client, pytest.raises(ServerUnreachable):
        rollout_screen.follow(client, "m", "r1", 10.0)


def test_a_terminal_sees_a_live_picture(
    runner: CliRunner, stand_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    stand_in.rollouts = [rollout(), rollout(), rollout("SUCCEEDED", 10_000)]
    found = run(runner, "status", "m", "--watch", "-o", "json")
    assert found.exit_code == 0
    assert json.loads(found.stdout)["phase"] == "SUCCEEDED"
    assert "█" in found.stderr
    assert "\x1b[" in found.stderr


def test_the_picture_shows_all_that_matters() -> None:
    console = Console(width=90, no_color=True, record=True, file=io.StringIO())
    console.print(picture(rollout(shadow_bp=10_000)))
    shown = [line.rstrip() for line in console.export_text().splitlines()]
    assert "\n".join(shown) == snapshot("""\
m  PROGRESSING  step 2 of 3  stage 2  for 1 min 15 s  copies of 100 %
██░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░  m-2 5 %, m-1 95 %
waits for latency to be SAFE
The candidate takes 5%.
┏━━━━━━━━━━━┳━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━┓
┃ guardrail ┃ verdict   ┃ reason           ┃
┡━━━━━━━━━━━╇━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━┩
│ latency   │ UNDECIDED │ p99 [ms] is open │
└───────────┴───────────┴──────────────────┘\
""")
    console.print(picture(rollout(guardrails=[], stage_age_s=None, weight_bp=10)))
    assert "not in force yet" in console.export_text()


@pytest.mark.parametrize(
    ("arguments", "path", "body"),
    [
        (["promote", "m"], "rollouts/current/promote", {}),
        (["promote", "m", "--full"], "rollouts/current/promote", {"full": True}),
        (["pause", "m"], "rollouts/current/pause", {}),
        (["resume", "m", "--id", "r7"], "rollouts/r7/resume", {}),
        (["approve", "m"], "rollouts/current/approve", {}),
        (
            ["approve", "m", "--waive-verification", "known"],
            "rollouts/current/approve",
            {"waive_verification": "known"},
        ),
        (
            ["retry", "m", "--waive-verification", "known"],
            "rollouts/current/retry",
            {"waive_verification": "known"},
        ),
        (["abort", "m", "--reason", "odd"], "rollouts/current/abort", {"reason": "odd"}),
        (["retry", "m", "--fresh-evidence"], "rollouts/current/retry", {"fresh_evidence": True}),
        (["undo", "m"], "undo", {"to": None}),
        (["undo", "m", "--to", "3"], "undo", {"to": 3}),
    ],
)
def test_verbs(
    runner: CliRunner, stand_in: Any, arguments: list[str], path: str, body: Any
) -> None:
    stand_in.rollouts = [rollout()]
    found = run(runner, *arguments, "-o", "json")
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["id"] == "r1"
    assert stand_in.asked == [("POST", f"{OURS}/{path}", body)]
    assert run(runner, *arguments).exit_code == 0


def test_a_verb_that_is_refused_is_a_finding(runner: CliRunner, stand_in: Any) -> None:
    stand_in.refusal = (400, {"error_code": "INVALID_STATE", "message": "nothing to approve"})
    found = run(runner, "approve", "m")
    assert (found.exit_code, found.stdout) == (1, "")
    assert "nothing to approve (INVALID_STATE)" in found.stderr


def test_history(runner: CliRunner, stand_in: Any) -> None:
    assert "no rollouts yet" in run(runner, "history", "m").stderr
    stand_in.rollouts = [rollout(), rollout("ROLLED_BACK", 0, id="r0")]
    stand_in.rollouts[0]["id"] = long = "22b21ac44fbcf189563e5ce148a5d200"
    newest, oldest = run(runner, "history", "m").stdout.splitlines()
    # Whole at any width: the id is what `--id` takes.
    assert (long in newest, "  PROGRESSING  m-1 → m-2" in newest) == (True, True)
    assert "  r0  ROLLED_BACK" in oldest
    stand_in.rollouts[0]["id"] = "r1"
    found = run(runner, "history", "m", "--limit", "5", "-o", "json")
    assert [each["id"] for each in json.loads(found.stdout)["rollouts"]] == ["r1", "r0"]
    assert stand_in.asked[-1][1] == f"{OURS}/rollouts?limit=5"


def test_why_tells_the_reason_and_what_led_there(runner: CliRunner, stand_in: Any) -> None:
    stand_in.rollouts = [rollout()]
    at = "2026-03-01T12:00:00Z"
    stand_in.entries = [
        {"id": 1, "at": at, "actor": "ada", "kind": "rollout_started", "data": {}},
        {
            "id": 5,
            "at": at,
            "actor": "ada",
            "kind": "rollout_decided",
            "data": {"event": "pause", "from": "PROGRESSING", "to": "PAUSED", "reason": "[odd]"},
        },
        {
            "id": 6,
            "at": at,
            "actor": "controller",
            "kind": "rollout_decided",
            "data": {
                **{"event": "observed", "from": "PAUSED", "to": "PAUSED", "reason": "[odd]"},
                **{"candidate_bp": 500, "waiting_for": "resume"},
            },
        },
    ]
    assert run(runner, "why", "m").stdout == snapshot("""\
PROGRESSING: why it is so.
latency UNDECIDED: p99 [ms] is open
2026-03-01T12:00:00Z  ada  rollout_started
2026-03-01T12:00:00Z  ada  pause PROGRESSING → PAUSED  [odd]
2026-03-01T12:00:00Z  controller  observed  at 5 %, waits for resume
""")
    found = json.loads(run(runner, "why", "m", "--limit", "1", "-o", "json").stdout)
    assert [each["id"] for each in found["entries"]] == [6]


@pytest.mark.parametrize(
    "arguments",
    [
        ["rollout", "start", "m"],
        ["rollout", "start", "m", "--candidate", "models:/m/2", "--steps", "1,ten"],
        ["rollout", "start", "m", "--candidate", "models:/m/2", "--steps", ""],
        ["rollout", "start", "m", "-f", "absent.yaml"],
        ["rollout", "start", "m", "-f", "two.yaml"],
        ["rollout", "start", "m", "-f", "list.yaml"],
        ["rollout", "undo", "m", "--to", "0"],
        ["apply"],
        ["apply", "-f", "absent.yaml"],
        ["apply", "-f", "empty.yaml"],
        ["apply", "-f", "broken.yaml"],
        ["apply", "-f", "list.yaml"],
        ["apply", "-f", "policy.yaml"],
        ["apply", "-f", "homeless.yaml"],
        ["apply", "-f", "nothing.yaml"],
        ["apply", "-f", "good.yaml", "-f", "slip.yaml"],
    ],
)
def test_usage_errors(runner: CliRunner, stand_in: Any, arguments: list[str]) -> None:
    stand_in.rollouts = [rollout()]
    for name, text in {
        "two.yaml": f"{SPEC}---\n{SPEC}",
        "list.yaml": "[1, 2]",
        "empty.yaml": "---\n---\n",
        "broken.yaml": "a: [",
        "policy.yaml": "kind: Policy",
        "homeless.yaml": "kind: Rollout\ncandidate: models:/m/2",
        "nothing.yaml": "kind: Rollout\nendpoint: m",
        "good.yaml": SPEC,
        "slip.yaml": SPEC.replace("steps", "stesp"),
    }.items():
        Path(name).write_text(text)
    found = runner.invoke(app, arguments)
    assert (found.exit_code, found.stdout) == (2, ""), found.output
    assert stand_in.asked == []


def test_apply_sends_every_document_in_order(runner: CliRunner, stand_in: Any) -> None:
    stand_in.rollouts = [rollout()]
    Path("a.yaml").write_text(f"{SPEC}---\n{SPEC.replace('models:/m/2', 'models:/m/3')}")
    Path("b.json").write_text('{"kind": "Rollout", "endpoint": "m", "candidate": "models:/m/4"}')
    found = runner.invoke(app, ["apply", "-f", "a.yaml", "-f", "b.json", "-o", "json"])
    assert found.exit_code == 0, found.output
    assert len(json.loads(found.stdout)["rollouts"]) == 3
    assert [body["candidate"][-1] for _, _, body in stand_in.asked] == ["2", "3", "4"]
    told = runner.invoke(app, ["apply", "-f", "-"], input=SPEC)
    assert told.stdout == "rollout r1 of m: PROGRESSING\n"


def test_a_slip_in_a_file_is_named(runner: CliRunner, stand_in: Any) -> None:
    Path("slip.yaml").write_text(SPEC.replace("undecided", "undecidd"))
    found = runner.invoke(app, ["apply", "-f", "slip.yaml"], env={"COLUMNS": "300"})
    assert "document 1: on.undecidd is not known; did you mean undecided" in found.stderr


def test_the_journal_learns_who_asked(
    runner: CliRunner, stand_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in.rollouts = [rollout()]
    for name, told in (("ada", "ada"), ("žofie", None)):
        monkeypatch.setattr(getpass, "getuser", lambda name=name: name)
        run(runner, "pause", "m")
        assert stand_in.actors[-1] == told


def test_a_self_test_names_no_candidate_and_says_how_it_came_out(
    runner: CliRunner, stand_in: Any
) -> None:
    said = {"said": "No false alarm in 12 looks: the smallest p was 0.3 (latency)."}
    stand_in.rollouts = [rollout(self_test=said)]
    found = run(runner, "start", "m", "--aa", "--steps", "5,50")
    assert found.exit_code == 0, found.output
    assert stand_in.asked[-1] == (
        "POST",
        f"{OURS}/rollouts",
        {"self_test": True, "steps": [{"set_weight": "5%"}, {"set_weight": "50%"}]},
    )
    assert said["said"] in found.stdout
    assert said["said"] in run(runner, "why", "m").stdout


@pytest.mark.parametrize(
    ("more", "lines"),
    [
        (
            {"phase": "PAUSED", "cause": "approval"},
            ["go on: serinus rollout approve m", "go back: serinus rollout abort m"],
        ),
        (
            {"phase": "PAUSED", "cause": "user"},
            ["go on: serinus rollout resume m", "go back: serinus rollout abort m"],
        ),
        (
            {"phase": "PAUSED", "cause": "regressed"},
            ["go on all the same: serinus rollout promote m", "go back: serinus rollout abort m"],
        ),
        (
            {"phase": "PAUSED", "cause": "undecided"},
            [
                "give it its time again: serinus rollout resume m",
                "go on all the same: serinus rollout promote m",
                "go back: serinus rollout abort m",
            ],
        ),
        ({"phase": "SUCCEEDED"}, ["back to m-1: serinus rollout undo m"]),
        ({"phase": "SUCCEEDED", "weight_bp": 0}, []),
        (
            {"phase": "ROLLED_BACK", "cause": "candidate_failed"},
            ["what it printed: GET /api/2.0/serving-endpoints/m/served-models/m-2/build-logs"],
        ),
        (
            {"phase": "ROLLED_BACK", "cause": "regressed"},
            ["once more, forgetting what was learnt: serinus rollout retry m --fresh-evidence"],
        ),
        ({"phase": "PROGRESSING"}, []),
    ],
)
def test_where_somebody_must_act_the_command_is_named(
    runner: CliRunner, stand_in: Any, more: dict[str, Any], lines: list[str]
) -> None:
    stand_in.rollouts = [rollout(**more)]
    said = run(runner, "status", "m").stdout.splitlines()
    assert said[3:][: len(lines)] == lines
    assert said[3 + len(lines)].startswith("┏")


def test_of_a_rollout_of_the_past_no_way_on_is_named(runner: CliRunner, stand_in: Any) -> None:
    stand_in.rollouts = [rollout("SUCCEEDED", 10_000, ended_at="2026-03-01T12:00:00Z")]
    assert "undo" not in run(runner, "status", "m", "--id", "r1").stdout


def test_a_step_says_for_how_long_it_waits_and_may_wait(runner: CliRunner, stand_in: Any) -> None:
    spec = {"step": {"timeout": "2h"}}
    stand_in.rollouts = [rollout(waiting_age_s=75.2, spec=spec)]
    said = run(runner, "status", "m").stdout
    assert "waits for latency to be SAFE (for 1 min 15 s, at most 2h)\n" in said


def test_gates_that_were_skipped_are_not_told_as_failed(runner: CliRunner, stand_in: Any) -> None:
    gates = [{"name": "identity", "result": "pass"}, {"name": "golden_replay", "result": "skipped"}]
    verification = {"status": "ended", "result": "pass", "gates": gates, "rows": 0}
    stand_in.rollouts = [rollout() | {"verification": verification}]
    said = run(runner, "status", "m").stdout
    assert "verification passed: 1 of 2 gates, 1 skipped, none failed; no golden rows" in said
