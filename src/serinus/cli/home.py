"""The server of a home on this machine, spoken to by the owner of that home without a token.

Whoever may read and write the home may do everything anyway; nobody else gets in this way.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from serinus.cli.connection import spoken, who
from serinus.cli.output import Exit, fail
from serinus.client import Client
from serinus.server.layout import Layout
from serinus.settings import Settings

if TYPE_CHECKING:
    from serinus.cli.stored import AtHome

__all__ = ["at_home"]


@contextmanager
def at_home(settings: Settings) -> "Iterator[Client | AtHome]":
    """The running server by its own socket; else its store. Errors become words and exit codes."""
    layout = Layout(settings.home)
    with spoken():
        if _answers(layout.controller_socket):
            transport = httpx.HTTPTransport(uds=str(layout.controller_socket))
            headers = {"x-serinus-caller": "owner"}
            with Client(
                "http://controller", transport=transport, actor=who(), headers=headers
            ) as client:
                yield client
            return
        try:
            layout.make()
        except OSError as error:
            fail(f"the home can't be used: {error}", Exit.USAGE)
        # The database's library is needed only where no server runs.
        from serinus.cli.stored import AtHome  # noqa: PLC0415

        try:
            with AtHome.opened(settings.store) as home:
                yield home
        finally:
            _close_to_others(layout.database)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def _close_to_others(database: Path) -> None:
    with suppress(OSError):
        if database.is_file():
            os.chmod(database, 0o600)
