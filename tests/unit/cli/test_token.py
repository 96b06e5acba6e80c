"""Tokens and the audit from the command line, on the home of a server that does not run."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from serinus.access import digest_of, token_id_of
from serinus.cli.app import app

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    for name in ("SERINUS_TOKEN", "SERINUS_SERVER", "SERINUS_HOME", "SERINUS_STORE"):
        monkeypatch.delenv(name, raising=False)
    return lambda *words: CliRunner().invoke(app, list(words))


def test_the_first_token_needs_none_and_is_shown_once(run: Run, tmp_path: Path) -> None:
    made = run("token", "create", "--name", "me", "--admin")
    assert made.exit_code == 0, made.output
    token = made.stdout.strip()
    assert token_id_of(token)
    listed = run("token", "list", "--output", "json")
    assert token not in listed.output
    [me] = json.loads(listed.stdout)["tokens"]
    assert (me["name"], me["admin"], me["expires_at"]) == ("me", True, None)
    database = tmp_path / ".serinus" / "serinus.db"
    assert database.stat().st_mode & 0o077 == 0
    kept = b"".join(file.read_bytes() for file in database.parent.glob("serinus.db*"))
    assert token.encode() not in kept
    assert digest_of(token).encode() in kept


def test_rights_an_end_and_a_name_of_its_own(run: Run) -> None:
    run("token", "create", "--name", "ci", "--can", "query:line", "--can", "view:*",
        "--expires", "30d")  # fmt: skip
    again = run("token", "create", "--name", "ci", "--admin")
    assert again.exit_code == 1
    assert "revoke ci" in again.output
    [ci] = json.loads(run("token", "list", "--output", "json").stdout)["tokens"]
    assert ci["can"] == ["view:*", "query:line"]
    assert ci["expires_at"] > ci["created_at"]
    assert "query:line" in run("token", "list").stdout


def test_revoking_ends_it(run: Run) -> None:
    assert run("token", "revoke", "ci").exit_code == 2
    run("token", "create", "--name", "ci", "--admin")
    assert run("token", "revoke", "ci").exit_code == 0
    assert json.loads(run("token", "list", "--output", "json").stdout) == {"tokens": []}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--name", "x", "--can", "read:e"), 2, "view:ENDPOINT"),
        (("--name", "x"), 2, "could do nothing"),
        (("--name", "x", "--admin", "--expires", "soon"), 2, "duration"),
    ],
)
def test_a_slip_is_explained(run: Run, words: tuple[str, ...], code: int, said: str) -> None:
    done = run("token", "create", *words)
    assert done.exit_code == code, done.output
    assert said in done.output


def test_the_audit_knows_who_made_tokens(run: Run) -> None:
    run("token", "create", "--name", "ci", "--admin")
    run("token", "revoke", "ci")
    entries = json.loads(run("audit", "list", "--output", "json").stdout)["entries"]
    assert [each["action"] for each in entries] == ["serinus token revoke", "serinus token create"]
    assert entries[1]["after"]["ci"]["admin"] is True
    assert "serinus token revoke" in run("audit", "list").stdout
    checked = run("audit", "verify")
    assert checked.exit_code == 0
    assert checked.stdout.strip() == entries[0]["hash"]


def test_a_server_that_is_named_is_asked(run: Run) -> None:
    done = run("token", "list", "--server", "http://127.0.0.1:9")
    assert done.exit_code == 3
