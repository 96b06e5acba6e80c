"""What several commands of ``serinus rollout`` take, and how it is read."""

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from serinus.cli.documents import one_document

__all__ = ["IdOption", "SpecOption", "StepsOption", "StrategyOption", "spec_of"]

SpecOption = Annotated[
    Path | None,
    typer.Option("--file", "-f", help="YAML or JSON file with the spec", show_default=False),
]
IdOption = Annotated[
    str, typer.Option("--id", help="a rollout's id; current: the one under way, else the newest")
]
StrategyOption = Annotated[
    str | None, typer.Option(help="canary, blue-green or shadow", show_default=False)
]
StepsOption = Annotated[
    str | None,
    typer.Option(
        metavar="PERCENT,…", help="weights of a canary, e.g. 1,5,25,50", show_default=False
    ),
]


def spec_of(file: Path | None, strategy: str | None, steps: str | None) -> dict[str, Any]:
    """What the file says, with what the options say in its place; raises typer.BadParameter."""
    spec = one_document(file) if file is not None else {}
    if strategy is not None:
        spec["strategy"] = strategy
    if steps is not None:
        spec["steps"] = _weights(steps)
    return spec


def _weights(steps: str) -> list[dict[str, str]]:
    """The spec's steps for ``1,5,25``; raises typer.BadParameter."""
    parts = [part.strip().removesuffix("%") for part in steps.split(",")]
    for part in parts:
        if not re.fullmatch(r"\d{1,3}(\.\d{1,2})?", part):
            raise typer.BadParameter(f"--steps {steps!r}: {part!r} is not a percentage such as 5")
    return [{"set_weight": f"{part}%"} for part in parts]
