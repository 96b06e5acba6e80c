"""How commands speak: results on stdout, all else on stderr, and one meaning per exit code."""

import json
import sys
from enum import IntEnum, StrEnum
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from serinus.errors import SerinusError

__all__ = [
    "Exit",
    "Output",
    "OutputOption",
    "fail",
    "note",
    "refused",
    "show_json",
    "stderr",
    "stdout",
]


#: What says that the command is wrong, and nothing of what it asks about: a mistyped name must not
#: look to a script like a model that is at fault.
_WRONG_COMMAND = frozenset(
    {
        *("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "BAD_REQUEST"),
        *("UNAUTHENTICATED", "PERMISSION_DENIED", "NOT_IMPLEMENTED"),
    }
)


class Exit(IntEnum):
    """What a command's exit code says; scripts rely on it."""

    GOOD = 0
    FINDING = 1
    USAGE = 2
    UNREACHABLE = 3
    UNDECIDED = 4


class Output(StrEnum):
    """For whom a command prints."""

    TABLE = "table"
    JSON = "json"


OutputOption = Annotated[
    Output, typer.Option("--output", "-o", help="table for people, json for programs")
]


def stdout() -> Console:
    """Where results go; made per call, because the stream may have been redirected since."""
    return Console(file=sys.stdout, highlight=False)


def stderr() -> Console:
    """Where progress, notes and errors go."""
    return Console(file=sys.stderr, highlight=False)


def show_json(value: object) -> None:
    """The one JSON document that a command with ``--output json`` writes to stdout."""
    typer.echo(json.dumps(value, indent=2, default=str))


def note(text: str) -> None:
    """A line for the person at the terminal; never part of the result."""
    typer.echo(text, err=True)


def fail(text: str, code: Exit = Exit.FINDING) -> NoReturn:
    """Say what is wrong and end the command."""
    stderr().print(f"[bold red]error:[/] {escape(text)}", soft_wrap=True)
    raise typer.Exit(code)


def refused(error: SerinusError) -> NoReturn:
    """End the command with what was refused: 2 where the command itself is wrong, else 1."""
    wrong = error.code in _WRONG_COMMAND
    fail(f"{error.message} ({error.code})", Exit.USAGE if wrong else Exit.FINDING)
