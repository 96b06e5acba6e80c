"""Makes the process of `serinus serve` the supervisor, which lives for months.

What a command line loads (options, colours, tables) is gone with the program that it was: 15 MB.
"""

import os
import sys
from pathlib import Path
from typing import NoReturn

import msgspec

from serinus.settings import Settings

__all__ = ["become_supervisor", "told_settings"]


def become_supervisor(settings: Settings) -> NoReturn:
    """Go on as the supervisor with these settings: the same process, another program."""
    # Through a pipe and not by the command line, where everybody would see a store's password.
    read, write = os.pipe()
    os.set_inheritable(read, True)
    with os.fdopen(write, "wb") as told:
        told.write(msgspec.json.encode(settings, enc_hook=str))
    sys.stdout.flush()
    sys.stderr.flush()
    program = [sys.executable, "-m", "serinus.server.supervisor", str(read)]
    os.execv(sys.executable, program)  # noqa: S606 - no shell is wanted


def told_settings(descriptor: int) -> Settings:
    """The settings that `become_supervisor` was given."""
    with os.fdopen(descriptor, "rb") as told:
        return msgspec.json.decode(told.read(), type=Settings, dec_hook=_path)


def _path(kind: type, value: object) -> object:
    return Path(str(value)) if kind is Path else kind(value)
