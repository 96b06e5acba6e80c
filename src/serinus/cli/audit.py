"""``serinus audit``: who changed what, and whether the record of it is whole."""

from typing import Annotated

import typer

from serinus.cli.connection import DEFAULT_SERVER, ServerOption, TokenOption
from serinus.cli.output import Exit, Output, OutputOption, note, show_json, stdout
from serinus.cli.token import HomeOption, access_to

__all__ = ["audit"]

audit = typer.Typer(no_args_is_help=True, help="See who changed what.")


@audit.command("list")
def list_entries(
    endpoint: Annotated[
        str | None, typer.Option(help="only changes of this endpoint", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="most entries to show")] = 20,
    home: HomeOption = None,
    server: ServerOption = DEFAULT_SERVER,
    token: TokenOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Changes, the newest first."""
    with access_to(server, token, home) as client:
        entries = client.audit(endpoint=endpoint, limit=limit)
    if output is Output.JSON:
        show_json({"entries": entries})
        return
    console = stdout()
    for each in entries:
        changed = ", ".join(sorted(each["before"].keys() | each["after"].keys())) or "-"
        line = f"{each['id']}  {each['at'][:19]}  {each['actor']}  {each['action']}"
        about = f"  {each['endpoint'] or 'tokens'}: {changed}"
        # One entry is one line, however long: people search these with grep.
        console.print(line + about, soft_wrap=True, markup=False)


@audit.command("verify")
def verify_entries(
    home: HomeOption = None,
    server: ServerOption = DEFAULT_SERVER,
    token: TokenOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Follow the chain of hashes: exit code 1 when an entry was changed, added or taken away."""
    with access_to(server, token, home) as client:
        found = client.check_audit()
    if output is Output.JSON:
        show_json(found)
    elif found["whole"]:
        note(f"all {found['entries']} entries follow from each other; the last hash is:")
        typer.echo(found["head"])
    else:
        note(f"entry {found['broken_at']} does not follow from the one before it")
    if not found["whole"]:
        raise typer.Exit(Exit.FINDING)
