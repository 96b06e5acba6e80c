"""``serinus endpoints``: list, look at, create, update and delete. All by the REST API."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from serinus.cli.connection import DEFAULT_SERVER, ServerOption, TokenOption, connected
from serinus.cli.output import Exit, Output, OutputOption, fail, note, show_json, stdout
from serinus.cli.served import config_from_arguments, config_from_file

if TYPE_CHECKING:
    from serinus.client import Client

__all__ = ["endpoints"]

endpoints = typer.Typer(no_args_is_help=True, help="List, create and change endpoints.")

NameArgument = Annotated[str, typer.Argument(help="name of the endpoint", show_default=False)]
ServedOption = Annotated[
    list[str] | None,
    typer.Option(
        "--served",
        "--model",
        metavar="URI[=PERCENT]",
        help="a model and its share of the traffic, e.g. models:/m/1=90; repeat for more versions",
        show_default=False,
    ),
]
FileOption = Annotated[
    Path | None,
    typer.Option("--file", "-f", help="JSON file with the config instead", show_default=False),
]
NoWaitOption = Annotated[bool, typer.Option("--no-wait", help="return as soon as it is accepted")]
TimeoutOption = Annotated[
    float, typer.Option("--timeout", min=0, help="seconds to wait; exit code 4 when they are over")
]


@endpoints.command("list")
def list_endpoints(
    server: ServerOption = DEFAULT_SERVER,
    token: TokenOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Every endpoint with its state and its split."""
    with connected(server, token) as client:
        found = client.endpoints()
    if output is Output.JSON:
        show_json({"endpoints": found})
    elif not found:
        note("no endpoints yet; create one with: serinus endpoints create NAME --model URI")
    else:
        table = Table("endpoint", "ready", "update", "config", "split")
        for each in found:
            state = each.get("state") or {}
            config = each.get("config") or {}
            table.add_row(
                each["name"],
                _word(state.get("suspend") or state.get("ready")),
                _word(state.get("config_update")),
                str(config.get("config_version", "-")),
                ", ".join(f"{name} {percent} %" for name, percent in _split(config).items()) or "-",
            )
        stdout().print(table)


@endpoints.command("get")
def get_endpoint(
    name: NameArgument,
    server: ServerOption = DEFAULT_SERVER,
    token: TokenOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """One endpoint: what it serves, and what it is preparing."""
    with connected(server, token) as client:
        _show(client.endpoint(name), output)


@endpoints.command("create")
def create_endpoint(
    name: NameArgument,
    served: ServedOption = None,
    file: FileOption = None,
    no_wait: NoWaitOption = False,
    timeout: TimeoutOption = 1200.0,
    server: ServerOption = DEFAULT_SERVER,
    token: TokenOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Create an endpoint and wait until it serves."""
    config = _config(served, file)
    with connected(server, token) as client:
        endpoint = client.create(name, config)
        if not no_wait:
            endpoint = _settled(client, name, timeout)
    _show(endpoint, output)


@endpoints.command("update")
def update_endpoint(
    name: NameArgument,
    served: ServedOption = None,
    file: FileOption = None,
    no_wait: NoWaitOption = False,
    timeout: TimeoutOption = 1200.0,
    server: ServerOption = DEFAULT_SERVER,
    token: TokenOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Replace what an endpoint serves; the old config serves until the new one is ready."""
    config = _config(served, file)
    with connected(server, token) as client:
        endpoint = client.update_config(name, config)
        if not no_wait:
            endpoint = _settled(client, name, timeout)
    _show(endpoint, output)


@endpoints.command("delete")
def delete_endpoint(
    name: NameArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="do not ask")] = False,
    server: ServerOption = DEFAULT_SERVER,
    token: TokenOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Take an endpoint away; its callers get 404 from then on."""
    if not yes and not typer.confirm(f"Delete endpoint {name!r}?", err=True):
        fail("not deleted", Exit.FINDING)
    with connected(server, token) as client:
        client.delete(name)
    if output is Output.JSON:
        show_json({"name": name, "deleted": True})
    else:
        note(f"endpoint {name!r} is deleted")


@endpoints.command("stop")
def stop_endpoint(
    name: NameArgument,
    server: ServerOption = DEFAULT_SERVER,
    token: TokenOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Have an endpoint answer nobody and run nothing; its callers get 400 until it starts."""
    with connected(server, token) as client:
        _show(client.stop(name), output)


@endpoints.command("start")
def start_endpoint(
    name: NameArgument,
    no_wait: NoWaitOption = False,
    timeout: TimeoutOption = 1200.0,
    server: ServerOption = DEFAULT_SERVER,
    token: TokenOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Have a stopped endpoint serve again what it served, and wait until it does."""
    with connected(server, token) as client:
        endpoint = client.start(name)
        if not no_wait:
            endpoint = _settled(client, name, timeout)
    _show(endpoint, output)


def _config(served: list[str] | None, file: Path | None) -> dict[str, Any]:
    if bool(served) == (file is not None):
        raise typer.BadParameter("give either --served URI[=PERCENT] (or --model URI) or --file")
    return config_from_file(file) if file is not None else config_from_arguments(served or [])


def _settled(client: "Client", name: str, timeout_s: float) -> dict[str, Any]:
    """The endpoint once its update is over, with the way there shown on stderr."""
    # Rich's progress bars would slow the start of every other command.
    from serinus.cli.waiting import Waiting  # noqa: PLC0415

    with Waiting() as waiting:
        return client.wait_until_updated(name, timeout_s=timeout_s, on_progress=waiting.see)


def _show(endpoint: dict[str, Any], output: Output) -> None:
    if output is Output.JSON:
        show_json(endpoint)
        return
    state = endpoint.get("state") or {}
    console = stdout()
    ready = state.get("suspend") or state.get("ready")
    console.print(
        f"[bold]{endpoint['name']}[/]  {_word(ready)}  {_word(state.get('config_update'))}"
    )
    going = "in preparation" if state.get("config_update") == "IN_PROGRESS" else "not taken over"
    for key, title in (("config", "serving"), ("pending_config", going)):
        if endpoint.get(key):
            console.print(_entities(endpoint[key], title))


def _entities(config: dict[str, Any], title: str) -> Table:
    split = _split(config)
    table = Table("served entity", "model", "traffic", "state", "message")
    table.title = f"{title}, config {config.get('config_version', '-')}"
    for each in config.get("served_entities") or []:
        state = each.get("state") or {}
        table.add_row(
            each.get("name", "-"),
            " ".join(filter(None, (each.get("entity_name"), each.get("entity_version")))),
            f"{split.get(each.get('name', ''), 0)} %",
            _word((state.get("deployment") or "").removeprefix("DEPLOYMENT_")),
            state.get("deployment_state_message") or "",
        )
    return table


def _split(config: dict[str, Any]) -> dict[str, int]:
    """Served-entity name → percent, as the config routes it."""
    routes = (config.get("traffic_config") or {}).get("routes") or []
    return {
        route.get("served_entity_name") or route.get("served_model_name") or "-": int(
            route.get("traffic_percentage", 0)
        )
        for route in routes
    }


def _word(state: str | None) -> str:
    """``NOT_UPDATING`` → ``not updating``."""
    return (state or "-").replace("_", " ").lower()
