"""What commands about live values take: which of them are meant."""

from typing import Annotated

import typer

__all__ = ["CallerOption", "WindowOption"]

WindowOption = Annotated[str, typer.Option(help="how far back: 30m, 24h, 7d")]
CallerOption = Annotated[
    str | None, typer.Option(help="only the rows of this caller", show_default=False)
]
