"""By which settings a command goes: its options before the environment before the file."""

import os
from pathlib import Path
from typing import Annotated

import typer

from serinus.cli.output import Exit, fail
from serinus.settings import Settings, SettingsError, load_settings

__all__ = ["ConfigOption", "StateOption", "settings_in_force"]

ConfigOption = Annotated[
    Path | None,
    typer.Option(envvar="SERINUS_CONFIG", help="settings file (default: serinus.toml if there)"),
]
StateOption = Annotated[
    Path | None, typer.Option("--home", help="directory of the state (default: .serinus)")
]


def settings_in_force(config: Path | None, **overrides: object) -> Settings:
    """The settings; None overrides nothing, and a mistake in them is a usage error."""
    if config is None and (named := os.environ.get("SERINUS_CONFIG")):
        # Commands without the option go by the same file as the server that they are about.
        config = Path(named)
    elif config is None and Path("serinus.toml").is_file():
        config = Path("serinus.toml")
    try:
        return load_settings(config, os.environ, overrides)
    except SettingsError as error:
        fail(str(error), Exit.USAGE)
