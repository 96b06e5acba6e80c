"""The command tree. Only names, options and help; what takes long to import loads when it runs."""

from pathlib import Path
from typing import Annotated

import typer

from serinus import __version__
from serinus.cli.apply import apply
from serinus.cli.audit import audit
from serinus.cli.completion import completion
from serinus.cli.configuration import ConfigOption, StateOption, settings_in_force
from serinus.cli.connection import DEFAULT_SERVER, ServerOption, TokenOption
from serinus.cli.contract import contract
from serinus.cli.diagnose import diagnose
from serinus.cli.endpoints import endpoints
from serinus.cli.fault import fault
from serinus.cli.output import Exit, Output, OutputOption, fail
from serinus.cli.query import query
from serinus.cli.rollout import rollout
from serinus.cli.secret import secret_commands
from serinus.cli.skew import skew
from serinus.cli.token import token_commands
from serinus.cli.verify import verify

__all__ = ["app"]

_SERVE = "Serve"
_USE = "Use"
_CARE = "Look after"

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Serve MLflow models over HTTP and let every new version earn its traffic.",
)
PortOption = Annotated[
    int | None,
    typer.Option(min=0, max=65535, help="port; 0 takes a free one (default: 8080)"),
]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"serinus {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="show the version")
    ] = False,
) -> None:
    """The options that stand before a command."""


@app.command(rich_help_panel=_SERVE)
def serve(
    model: Annotated[
        str | None,
        typer.Option(help="serve this model at once: models:/name/2, models:/name@alias or a path"),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="endpoint name for --model (default: the model's)")
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="address to listen on (default: 127.0.0.1)")
    ] = None,
    port: PortOption = None,
    gateways: Annotated[
        int | None, typer.Option(min=1, help="gateway processes (default: 1)")
    ] = None,
    auth: Annotated[
        bool, typer.Option("--auth", help="ask each caller for a token; needed off this machine")
    ] = False,
    behind_tls_proxy: Annotated[
        bool, typer.Option("--behind-tls-proxy", help="a proxy in front of the server speaks TLS")
    ] = False,
    home: StateOption = None,
    config: ConfigOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Run the server. Every setting also has an environment variable and a key in the file."""
    settings = settings_in_force(
        config,
        model=model,
        name=name,
        host=host,
        port=port,
        gateways=gateways,
        auth="required" if auth else None,
        behind_tls_proxy=behind_tls_proxy or None,
        home=home,
        log_format="json" if output is Output.JSON else None,
    )
    # Only this command becomes a server.
    from serinus.server.start import become_supervisor  # noqa: PLC0415

    become_supervisor(settings)


@app.command(rich_help_panel=_SERVE)
def demo(
    once: Annotated[bool, typer.Option("--once", help="end after the requests, also here")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="port; 0 takes a free one")] = 0,
    home: Annotated[Path, typer.Option(help="directory of the demo's models and server")] = Path(
        ".serinus/demo"
    ),
    requests: Annotated[int, typer.Option(min=1000, help="requests to send")] = 2000,
    output: OutputOption = Output.TABLE,
) -> None:
    """Two versions of a real model behind one endpoint, split 90/10, with real flights."""
    # pandas, scikit-learn and mlflow, which come with the extra `serinus[demo]`.
    try:
        from serinus.cli.demo.story import tell  # noqa: PLC0415
    except ImportError as error:
        fail(f"{error}; the demo needs its extra: pip install 'serinus[demo]'", Exit.USAGE)
    raise typer.Exit(tell(home=home, port=port, requests=requests, once=once, output=output))


app.add_typer(endpoints, name="endpoints", rich_help_panel=_USE)
app.command(rich_help_panel=_USE)(query)
app.add_typer(rollout, name="rollout", rich_help_panel=_USE)
app.add_typer(contract, name="contract", rich_help_panel=_USE)
app.command(rich_help_panel=_USE)(verify)
app.command(rich_help_panel=_CARE)(skew)
app.command(rich_help_panel=_CARE)(diagnose)
app.add_typer(fault, name="fault", rich_help_panel=_CARE)
app.command(rich_help_panel=_USE)(apply)
app.add_typer(token_commands, name="token", rich_help_panel=_CARE)
app.add_typer(secret_commands, name="secret", rich_help_panel=_CARE)
app.add_typer(audit, name="audit", rich_help_panel=_CARE)


app.command(rich_help_panel=_CARE)(completion)


@app.command(rich_help_panel=_CARE)
def doctor(
    server: ServerOption = DEFAULT_SERVER,
    token: TokenOption = None,
    home: StateOption = None,
    config: ConfigOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Check this machine and the server, and say how to mend what is wrong."""
    settings = settings_in_force(config, home=home)
    # psutil, sqlite and httpx are needed here alone.
    from serinus.cli.doctor import examine  # noqa: PLC0415

    raise typer.Exit(examine(settings, server, token, output))


@app.command(rich_help_panel=_CARE)
def reload(
    home: StateOption = None,
    config: ConfigOption = None,
    timeout: Annotated[float, typer.Option(min=1, help="seconds to wait until it is done")] = 300.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Replace the gateways of the server on this machine, without losing a request."""
    settings = settings_in_force(config, home=home)
    # Only here does a command look at the server's own processes.
    from serinus.cli.reload import replace_gateways  # noqa: PLC0415

    raise typer.Exit(replace_gateways(settings.home, timeout, output))
