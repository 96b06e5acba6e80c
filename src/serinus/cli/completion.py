"""``serinus completion``: what a shell needs to complete commands and options. It only prints."""

import os
from enum import StrEnum
from typing import Annotated

import typer

__all__ = ["Shell", "completion", "prepare"]

#: The shell sets it to ask for words; the name that the program's own looks for.
_VARIABLE = "_SERINUS_COMPLETE"


class Shell(StrEnum):
    """Those that can be served."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(
    shell: Annotated[Shell, typer.Argument(help="the shell to print a script for")],
) -> None:
    """Print a completion script; load it in the shell's start-up file."""
    # Only this command needs the templates.
    from typer.completion import get_completion_script  # type: ignore[attr-defined]  # noqa: PLC0415

    typer.echo(
        get_completion_script(prog_name="serinus", complete_var=_VARIABLE, shell=shell.value)
    )


def prepare() -> None:
    """Speak as the scripts expect it, when it is a shell that asks for words."""
    if _VARIABLE in os.environ:
        # Only a shell that completes needs it.
        from typer.completion import completion_init  # type: ignore[attr-defined]  # noqa: PLC0415

        completion_init()
