"""``serinus secret``: put, list and delete secrets. A value is no argument and is never shown."""

import getpass
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from serinus.cli.connection import spoken
from serinus.cli.output import Exit, Output, OutputOption, fail, note, show_json, stdout
from serinus.cli.token import HomeOption, settings_at

if TYPE_CHECKING:
    from serinus.engine.vault import Vault

__all__ = ["secret_commands"]

secret_commands = typer.Typer(
    no_args_is_help=True, help="Put, list and delete secrets on the server's own machine."
)
ScopeArgument = Annotated[str, typer.Argument(help="what the secret belongs to, e.g. shop")]
KeyArgument = Annotated[str, typer.Argument(help="its name in the scope, e.g. api-key")]


@secret_commands.command("put")
def put_secret(
    scope: ScopeArgument,
    key: KeyArgument,
    home: HomeOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Keep a secret, or replace it. Its value is asked for, or read from standard input."""
    value = getpass.getpass("value: ") if sys.stdin.isatty() else sys.stdin.read()
    vault = _vault(home)
    with spoken():
        try:
            vault.put(scope, key, value.removesuffix("\n"))
        except OSError as error:
            fail(f"the secret can't be kept: {error}", Exit.USAGE)
    if output is Output.JSON:
        show_json({"scope": scope, "key": key})
        return
    note(
        f"replicas that start from now on get it where a variable is {{{{secrets/{scope}/{key}}}}}"
    )


@secret_commands.command("list")
def list_secrets(home: HomeOption = None, output: OutputOption = Output.TABLE) -> None:
    """Every secret there is, without its value."""
    found = _vault(home).all()
    if output is Output.JSON:
        show_json(
            {
                "secrets": [
                    {
                        "scope": each.scope,
                        "key": each.key,
                        "changed_at": each.changed_at.isoformat(),
                    }
                    for each in found
                ]
            }
        )
        return
    if not found:
        note("no secrets yet; put one with: serinus secret put SCOPE KEY")
        return
    table = Table("scope", "key", "changed")
    for each in found:
        table.add_row(each.scope, each.key, f"{each.changed_at:%Y-%m-%d %H:%M}")
    stdout().print(table)


@secret_commands.command("delete")
def delete_secret(
    scope: ScopeArgument,
    key: KeyArgument,
    home: HomeOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Forget a secret. Replicas that run keep what they were started with."""
    vault = _vault(home)
    with spoken():
        try:
            vault.delete(scope, key)
        except OSError as error:
            fail(f"the secret can't be deleted: {error}", Exit.USAGE)
    if output is Output.JSON:
        show_json({"scope": scope, "key": key})
    else:
        note(f"secret {scope}/{key} is deleted")


def _vault(home: Path | None) -> "Vault":
    # The engine's part is needed here alone.
    from serinus.engine.vault import Vault  # noqa: PLC0415

    return Vault(Path(settings_at(home).secrets))
