"""What several commands of ``serinus rollout`` take, and how it is read."""

import re
from typing import Annotated

import typer

__all__ = ["EndpointArgument", "IdOption", "weights"]

EndpointArgument = Annotated[
    str, typer.Argument(metavar="ENDPOINT", help="name of the endpoint", show_default=False)
]
IdOption = Annotated[
    str, typer.Option("--id", help="a rollout's id; current: the one under way, else the newest")
]


def weights(steps: str) -> list[dict[str, str]]:
    """The spec's steps for ``1,5,25``; raises typer.BadParameter."""
    parts = [part.strip().removesuffix("%") for part in steps.split(",")]
    for part in parts:
        if not re.fullmatch(r"\d{1,3}(\.\d{1,2})?", part):
            raise typer.BadParameter(f"--steps {steps!r}: {part!r} is not a percentage such as 5")
    return [{"set_weight": f"{part}%"} for part in parts]
