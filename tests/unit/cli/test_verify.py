from typing import Any

from typer.testing import CliRunner

from serinus.cli.app import app
from serinus.parity.verify import GATES


def report(status: str = "ended", result: str | None = "pass", **more: Any) -> dict[str, Any]:
    """What the server says of one version."""
    gates = [
        {"name": name, "result": "skipped", "class": "", "stage": "", "detail": "not [now]"}
        for name in (GATES if status == "ended" else ())
    ]
    if result == "fail":
        gates[2] |= {"result": "fail", "class": "preprocessing.transform", "stage": "S3"}
    return {
        "served_entity": "m-2",
        "config_version": 1,
        "model": "models:/m/2",
        "status": status,
        "result": result,
        "gates": gates,
        "notes": ["The model is served [un]batched."],
        "rows": 64,
        "contract_id": "c",
        **more,
    }


def test_it_needs_something_to_verify(runner: CliRunner) -> None:
    found = runner.invoke(app, ["verify"])
    assert found.exit_code == 2
    assert "Name a model, or an endpoint with --endpoint." in found.output


def test_a_model_that_is_not_there(runner: CliRunner) -> None:
    found = runner.invoke(app, ["verify", "./nothing"])
    # A slip of the pen must not look like a gate that failed.
    assert found.exit_code == 2
    assert "There is no directory ./nothing" in found.output


def test_an_endpoint_is_waited_for_and_a_failed_gate_shown(
    runner: CliRunner, stand_in: Any
) -> None:
    stand_in.verifications = [
        [report("asked", None)],
        [report("running", None)],
        [report(result="fail")],
    ]
    found = runner.invoke(app, ["verify", "--endpoint", "m"])
    assert found.exit_code == 1, found.output
    methods = [method for method, path, _ in stand_in.asked if path.endswith("/m/verification")]
    assert methods == ["POST", "GET", "GET"]
    row = next(line for line in found.stdout.splitlines() if "golden_replay" in line)
    assert all(word in row for word in ("fail", "preprocessing.transform", "S3", "not [now]"))
    assert "! The model is served [un]batched." in found.stdout
    assert "fail m-2 (64 golden rows)" in found.stdout


def test_one_model_of_an_endpoint(runner: CliRunner, stand_in: Any) -> None:
    other = report(result="fail", served_entity="m-1", model="models:/m/1")
    stand_in.verifications = [[other, report()]]
    found = runner.invoke(app, ["verify", "models:/m/2", "--endpoint", "m", "-o", "json"])
    assert found.exit_code == 0, found.output
    assert '"served_entity": "m-2"' in found.stdout
    assert "m-1" not in found.stdout
    lost = runner.invoke(app, ["verify", "models:/m/3", "--endpoint", "m"])
    assert lost.exit_code == 2
    assert "serves no models:/m/3" in lost.output


def test_a_verification_that_does_not_end(runner: CliRunner, stand_in: Any) -> None:
    stand_in.verifications = [[report("running", None)]]
    found = runner.invoke(app, ["verify", "--endpoint", "m", "--timeout", "1"])
    assert found.exit_code == 4
    assert "is not over after 1 s" in found.output


def test_nobody_listens(runner: CliRunner) -> None:
    found = runner.invoke(app, ["verify", "--endpoint", "m", "--server", "http://127.0.0.1:9"])
    assert found.exit_code == 3
