"""``serinus token``: make, list and revoke tokens."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from serinus.cli.configuration import settings_in_force
from serinus.cli.connection import DEFAULT_SERVER, ServerOption, TokenOption, connected
from serinus.cli.output import Exit, Output, OutputOption, fail, note, show_json, stdout
from serinus.settings import Settings, parse_duration

if TYPE_CHECKING:
    from serinus.cli.stored import AtHome
    from serinus.client import Client

__all__ = ["HomeOption", "access_to", "settings_at", "token_commands"]

token_commands = typer.Typer(no_args_is_help=True, help="Make, list and revoke tokens.")

HomeOption = Annotated[
    Path | None,
    typer.Option(
        help="home of a server on this machine, whose owner needs no token (default: .serinus)"
    ),
]


@contextmanager
def access_to(server: str, token: str | None, home: Path | None) -> "Iterator[Client | AtHome]":
    """The server by its URL when one or a token is given; else the home on this machine."""
    if home is None and (token or server != DEFAULT_SERVER):
        with connected(server, token) as client:
            yield client
        return
    settings = settings_at(home)
    # Speaking to a home is needed here alone.
    from serinus.cli.home import at_home  # noqa: PLC0415

    with at_home(settings) as local:
        yield local


def settings_at(home: Path | None) -> Settings:
    """The settings of the server of that home, or of the one that would start in this directory."""
    return settings_in_force(None, home=home)


@token_commands.command("create")
def create_token(
    name: Annotated[str, typer.Option(help="whose it is, e.g. ci or ann@example.com")],
    can: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RIGHT",
            help="view:, query: or manage: with an endpoint's name or *; repeat for more",
            show_default=False,
        ),
    ] = None,
    admin: Annotated[bool, typer.Option("--admin", help="may do everything")] = False,
    expires: Annotated[
        str | None, typer.Option(help="time until it ends, e.g. 30d (default: never)")
    ] = None,
    home: HomeOption = None,
    server: ServerOption = DEFAULT_SERVER,
    token: TokenOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Make a token. It is shown now and never again."""
    try:
        seconds = None if expires is None else parse_duration(expires)
    except ValueError as error:
        fail(f"--expires: {error}", Exit.USAGE)
    with access_to(server, token, home) as client:
        made = client.create_token(name, can or [], admin=admin, expires_in_s=seconds)
    if output is Output.JSON:
        show_json(made)
        return
    note(f"token {name!r} may: {_rights(made)}; keep it now, it is not shown again:")
    typer.echo(made["token"])


@token_commands.command("list")
def list_tokens(
    home: HomeOption = None,
    server: ServerOption = DEFAULT_SERVER,
    token: TokenOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Every token that is not revoked, and when it was last used."""
    with access_to(server, token, home) as client:
        found = client.tokens()
    if output is Output.JSON:
        show_json({"tokens": found})
        return
    if not found:
        note("no tokens yet; make one with: serinus token create --name me --admin")
        return
    table = Table("name", "may", "made", "ends", "last used")
    for each in found:
        table.add_row(
            each["name"],
            _rights(each),
            each["created_at"][:10],
            (each["expires_at"] or "never")[:16],
            (each["used_at"] or "never")[:16],
        )
    stdout().print(table)


@token_commands.command("revoke")
def revoke_token(
    name: Annotated[str, typer.Argument(help="name of the token", show_default=False)],
    home: HomeOption = None,
    server: ServerOption = DEFAULT_SERVER,
    token: TokenOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """End a token and the rights of its name, at every gateway."""
    with access_to(server, token, home) as client:
        answer = client.revoke_token(name)
    if output is Output.JSON:
        show_json(answer)
    elif answer["in_force"]:
        note(f"token {name!r} is revoked; every gateway refuses it")
    else:
        note(f"token {name!r} is revoked; gateways refuse it as soon as they have heard of it")


def _rights(token: dict[str, Any]) -> str:
    return "everything" if token["admin"] else ", ".join(token["can"]) or "nothing"
