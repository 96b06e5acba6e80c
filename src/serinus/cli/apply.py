"""``serinus apply``: sends what files ask for. A file is checked whole before any of it is sent."""

from pathlib import Path
from typing import Annotated, Any

import typer

from serinus.cli.connection import DEFAULT_SERVER, ServerOption, TokenOption, connected
from serinus.cli.documents import check, documents_in
from serinus.cli.output import Output, OutputOption, show_json, stdout

__all__ = ["apply"]

_KINDS = ("Rollout",)


def apply(
    file: Annotated[
        list[Path],
        typer.Option("--file", "-f", help="YAML or JSON; - reads standard input; repeat for more"),
    ],
    server: ServerOption = DEFAULT_SERVER,
    token: TokenOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Start the rollouts that a file asks for, in its order."""
    specs = [spec for path in file for spec in _rollouts(path)]
    done: list[dict[str, Any]] = []
    with connected(server, token) as client:
        for spec in specs:
            started = client.start_rollout(spec["endpoint"], spec)
            done.append(started)
            if output is Output.TABLE:
                told = f"rollout {started['id']} of {started['endpoint']}: {started['phase']}"
                stdout().print(told, markup=False, soft_wrap=True)
    if output is Output.JSON:
        show_json({"rollouts": done})


def _rollouts(path: Path) -> list[dict[str, Any]]:
    documents = documents_in(path)
    for number, each in enumerate(documents, 1):
        what = f"{path}, document {number}"
        if each.get("kind") not in _KINDS:
            raise typer.BadParameter(
                f"{what}: kind is {each.get('kind')!r}; known are {', '.join(_KINDS)}"
            )
        if not isinstance(each.get("endpoint"), str) or not each["endpoint"]:
            raise typer.BadParameter(f"{what}: endpoint is missing; name the one to roll out on")
        if "candidate" not in each:
            raise typer.BadParameter(f"{what}: candidate is missing; write a model URI")
        check(each, what)
    return documents
