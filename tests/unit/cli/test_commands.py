import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from inline_snapshot import snapshot
from typer.testing import CliRunner

from serinus import __version__
from serinus.cli.app import app
from serinus.client.wire import far


def create(runner: CliRunner, *more: str) -> Any:
    served = ["--served", "models:/m/1=90", "--served", "models:/m/2=10"]
    return runner.invoke(app, ["endpoints", "create", "m", *served, *more])


def test_version(runner: CliRunner) -> None:
    found = runner.invoke(app, ["--version"])
    assert (found.exit_code, found.stdout) == (0, f"serinus {__version__}\n")


def test_help_groups_the_commands(runner: CliRunner) -> None:
    said = runner.invoke(app, ["--help"]).stdout
    places = [said.index(word) for word in ("Serve ─", "Use ─", "Look after ─")]
    assert places == sorted(places)
    for command in ("serve", "demo", "endpoints", "query", "rollout", "apply", "doctor"):
        assert f"│ {command} " in said


def test_every_command_speaks_json(runner: CliRunner) -> None:
    groups = ["serve", "demo", "query", "doctor", "apply"]
    verbs = ("promote", "pause", "resume", "approve", "abort", "retry", "undo")
    groups += [f"rollout {each}" for each in ("start", "status", "history", "why", *verbs)]
    groups += [f"endpoints {each}" for each in ("list", "get", "create", "update", "delete")]
    for command in groups:
        assert "--output" in runner.invoke(app, [*command.split(), "--help"]).stdout, command


def test_starting_up_loads_nothing_heavy() -> None:
    heavy = "httpx,pandas,mlflow,sqlalchemy,fastapi,uvicorn,sklearn,databricks,psutil,yaml"
    code = (
        f"import sys, serinus.cli.app; print([m for m in '{heavy}'.split(',') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_create_waits_and_shows_who_gets_what(runner: CliRunner, stand_in: Any) -> None:
    stand_in.polls = 1
    found = create(runner)
    assert found.exit_code == 0, found.output
    assert found.stdout == snapshot("""\
m  ready  not updating
                  serving, config 1                  \n\
┏━━━━━━━━━━━━━━━┳━━━━━━━┳━━━━━━━━━┳━━━━━━━┳━━━━━━━━━┓
┃ served entity ┃ model ┃ traffic ┃ state ┃ message ┃
┡━━━━━━━━━━━━━━━╇━━━━━━━╇━━━━━━━━━╇━━━━━━━╇━━━━━━━━━┩
│ m-1           │ m 1   │ 90 %    │ ready │         │
│ m-2           │ m 2   │ 10 %    │ ready │         │
└───────────────┴───────┴─────────┴───────┴─────────┘
""")
    assert found.stderr.splitlines() == ["m-1  creating: Building", "m-2  creating: Building"]
    assert stand_in.asked[0] == (
        "POST",
        "/api/2.0/serving-endpoints",
        {
            "name": "m",
            "config": {
                "served_entities": [
                    {"name": "m-1", "entity_name": "m", "entity_version": "1"},
                    {"name": "m-2", "entity_name": "m", "entity_version": "2"},
                ],
                "traffic_config": {
                    "routes": [
                        {"served_model_name": "m-1", "traffic_percentage": 90},
                        {"served_model_name": "m-2", "traffic_percentage": 10},
                    ]
                },
            },
        },
    )


def test_create_json_is_one_document(runner: CliRunner, stand_in: Any) -> None:
    stand_in.polls = 1
    found = create(runner, "--output", "json")
    assert json.loads(found.stdout)["state"]["config_update"] == "NOT_UPDATING"


def test_create_without_waiting(runner: CliRunner, stand_in: Any) -> None:
    stand_in.polls = -1
    found = create(runner, "--no-wait", "-o", "json")
    assert found.exit_code == 0
    assert json.loads(found.stdout)["state"]["config_update"] == "IN_PROGRESS"


def test_a_failed_update_is_a_finding_and_says_why(runner: CliRunner, stand_in: Any) -> None:
    stand_in.fails = "No module named 'lightgbm' [extra]"
    found = create(runner, "-o", "json")
    assert (found.exit_code, found.stdout) == (1, "")
    assert "m-1: No module named 'lightgbm' [extra]" in found.stderr


def test_a_terminal_sees_live_progress(
    runner: CliRunner, stand_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    stand_in.polls = 2
    found = create(runner, "-o", "json")
    assert json.loads(found.stdout)["name"] == "m"
    assert "m-1  creating: Building" in found.stderr
    assert "\x1b[" in found.stderr


def test_waiting_too_long_is_undecided(runner: CliRunner, stand_in: Any) -> None:
    stand_in.polls = -1
    found = create(runner, "--timeout", "0")
    assert found.exit_code == 4
    assert "still updating" in found.stderr


def test_update_replaces_the_config(runner: CliRunner, stand_in: Any) -> None:
    create(runner)
    found = runner.invoke(app, ["endpoints", "update", "m", "--model", "models:/m/2", "-o", "json"])
    assert found.exit_code == 0
    config = json.loads(found.stdout)["config"]
    assert [each["name"] for each in config["served_entities"]] == ["m-2"]
    assert config["traffic_config"]["routes"][0]["traffic_percentage"] == 100


def test_no_proxy_is_asked_for_a_server_on_this_machine(
    runner: CliRunner, stand_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # where nobody is
    found = runner.invoke(app, ["endpoints", "list"])
    assert found.exit_code == 0, found.stderr
    assert not any(far(f"http://{host}:8080") for host in ("localhost", "127.0.0.9", "[::1]"))
    assert far("http://serving.example")


def test_list(runner: CliRunner, stand_in: Any) -> None:
    empty = runner.invoke(app, ["endpoints", "list"])
    assert (empty.exit_code, empty.stdout) == (0, "")
    create(runner)
    assert runner.invoke(app, ["endpoints", "list"]).stdout == snapshot("""\
┏━━━━━━━━━━┳━━━━━━━┳━━━━━━━━━━━━━━┳━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━┓
┃ endpoint ┃ ready ┃ update       ┃ config ┃ split              ┃
┡━━━━━━━━━━╇━━━━━━━╇━━━━━━━━━━━━━━╇━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━┩
│ m        │ ready │ not updating │ 1      │ m-1 90 %, m-2 10 % │
└──────────┴───────┴──────────────┴────────┴────────────────────┘
""")
    found = json.loads(runner.invoke(app, ["endpoints", "list", "-o", "json"]).stdout)
    assert [each["name"] for each in found["endpoints"]] == ["m"]


def test_get_of_nothing_is_a_wrong_command_and_no_finding(runner: CliRunner, stand_in: Any) -> None:
    found = runner.invoke(app, ["endpoints", "get", "absent", "-o", "json"])
    assert (found.exit_code, found.stdout) == (2, "")
    assert "'absent' does not exist" in found.stderr


def test_delete_asks_first(runner: CliRunner, stand_in: Any) -> None:
    create(runner)
    kept = runner.invoke(app, ["endpoints", "delete", "m"], input="n\n")
    assert kept.exit_code == 1
    assert "m" in stand_in.endpoints
    gone = runner.invoke(app, ["endpoints", "delete", "m", "--yes", "-o", "json"])
    assert gone.exit_code == 0
    assert json.loads(gone.stdout) == {"name": "m", "deleted": True}
    assert stand_in.endpoints == {}


def test_query_shows_predictions_and_who_answered(runner: CliRunner, stand_in: Any) -> None:
    found = runner.invoke(app, ["query", "m", "--data", '{"inputs": [[1], [2]]}'])
    assert found.exit_code == 0
    assert found.stdout == "[0.25, 0.75]\n[0.5, 0.5]\n"
    assert found.stderr == "answered by m-2  request r-1\n"


def test_query_from_file_and_stdin_and_pinned(runner: CliRunner, stand_in: Any) -> None:
    Path("rows.json").write_text('{"inputs": [[1]]}')
    for arguments, given in (
        (["--data", "@rows.json"], None),
        (["--data", "-"], '{"inputs": [[2]]}'),
    ):
        found = runner.invoke(
            app, ["query", "m", "--served", "m-2", "-o", "json", *arguments], input=given
        )
        assert json.loads(found.stdout) == {
            "predictions": [[0.25, 0.75], [0.5, 0.5]],
            "served_model_name": "m-2",
            "request_id": "r-1",
        }
    path = "/serving-endpoints/m/served-models/m-2/invocations"
    assert stand_in.asked == [
        ("POST", path, {"inputs": [[1]]}),
        ("POST", path, {"inputs": [[2]]}),
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ["endpoints", "create", "m"],
        ["endpoints", "create", "m", "--file", "absent.json"],
        ["endpoints", "create", "m", "--served", "models:/m/1=101"],
        ["endpoints", "create", "m", "--served", "models:/m/1=ten"],
        ["endpoints", "create", "m", "--served", "models:/m/1=-1"],
        ["endpoints", "create", "m", "--served", "models:/m/1=99"],
        ["endpoints", "create", "m", "--served", "models:/m/1", "--served", "models:/m/2=10"],
        ["query", "m", "--data", "{not json"],
        ["query", "m", "--data", "@absent.json"],
        ["query", "m"],
        ["serve", "--port", "65536"],
        ["serve", "--config", "absent.toml"],
        ["no-such-command"],
    ],
)
def test_usage_errors(runner: CliRunner, stand_in: Any, arguments: list[str]) -> None:
    found = runner.invoke(app, arguments)
    assert (found.exit_code, found.stdout) == (2, "")
    assert stand_in.asked == []


def test_an_unknown_setting_is_a_usage_error(
    runner: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERINUS_PROT", "1")
    found = runner.invoke(app, ["serve"])
    assert found.exit_code == 2
    assert "did you mean 'SERINUS_PORT'" in found.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["endpoints", "list"],
        ["endpoints", "get", "m"],
        ["endpoints", "create", "m", "--model", "models:/m/1"],
        ["endpoints", "update", "m", "--model", "models:/m/1"],
        ["endpoints", "delete", "m", "--yes"],
        ["query", "m", "--data", "{}"],
        ["rollout", "start", "m", "--candidate", "models:/m/2"],
        ["rollout", "status", "m", "--watch"],
        ["rollout", "abort", "m"],
        ["rollout", "undo", "m"],
        ["rollout", "why", "m"],
    ],
)
def test_no_server_is_exit_code_3(runner: CliRunner, arguments: list[str]) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        found = runner.invoke(app, [*arguments, "--server", url, "--output", "json"])
    assert (found.exit_code, found.stdout) == (3, "")
    assert url in found.stderr
    assert "serinus serve" in found.stderr
