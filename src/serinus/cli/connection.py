"""The server and the endpoint that a command is about; what errors mean for the exit code."""

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from serinus.cli.output import Exit, fail, refused
from serinus.errors import SerinusError

if TYPE_CHECKING:
    from serinus.client import Client

__all__ = [
    "DEFAULT_SERVER",
    "EndpointArgument",
    "ServerOption",
    "TokenOption",
    "connected",
    "spoken",
    "who",
]

DEFAULT_SERVER = "http://127.0.0.1:8080"

ServerOption = Annotated[
    str, typer.Option("--server", envvar="SERINUS_SERVER", help="URL of the server")
]
TokenOption = Annotated[
    str | None,
    typer.Option(
        "--token",
        envvar="SERINUS_TOKEN",
        help="bearer token, if it asks for one",
        show_default=False,
    ),
]

EndpointArgument = Annotated[
    str, typer.Argument(metavar="ENDPOINT", help="name of the endpoint", show_default=False)
]


@contextmanager
def connected(server: str, token: str | None) -> "Iterator[Client]":
    """A client of that server. Its errors become one sentence and an exit code."""
    # httpx costs half the start-up time of `serinus --help`: loaded only where a server is called.
    from serinus.client import Client  # noqa: PLC0415

    with spoken(), Client(server, token, actor=who()) as client:
        yield client


@contextmanager
def spoken() -> Iterator[None]:
    """What goes wrong in here becomes one sentence and an exit code."""
    from serinus.client import (  # noqa: PLC0415 - see above
        ServerUnreachable,
        UpdateFailed,
        UpdateUnfinished,
    )

    try:
        yield
    except ServerUnreachable as error:
        fail(str(error), Exit.UNREACHABLE)
    except UpdateUnfinished as error:
        fail(str(error), Exit.UNDECIDED)
    except UpdateFailed as error:
        fail(str(error), Exit.FINDING)
    except SerinusError as error:
        refused(error)


def who() -> str:
    """The name of whoever types; the journal of the server keeps it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in many containers
        return ""
