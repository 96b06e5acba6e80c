"""``serinus diagnose``: what is wrong with an endpoint's live predictions, by proof."""

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serinus.cli.connection import (
    DEFAULT_SERVER,
    EndpointArgument,
    ServerOption,
    TokenOption,
    connected,
)
from serinus.cli.diagnose_screen import show
from serinus.cli.live_options import CallerOption, WindowOption
from serinus.cli.offline_source import read_source
from serinus.cli.output import Exit, Output, OutputOption, fail, show_json, stderr

if TYPE_CHECKING:
    from serinus.client import Client

__all__ = ["diagnose"]

_LOOK_S = 0.3
#: Verdict → exit code; of every other verdict it is that of a finding.
EXITS = {"healthy": Exit.GOOD, "inconclusive": Exit.UNDECIDED}


def diagnose(
    endpoint: EndpointArgument,
    live: Annotated[
        bool, typer.Option("--live", help="replay the golden rows on the running replicas first")
    ] = False,
    window: WindowOption = "24h",
    version: Annotated[
        str | None, typer.Option(help="this served entity (default: most weight)")
    ] = None,
    caller: CallerOption = None,
    offline: Annotated[
        str | None,
        typer.Option(help="true values: a Parquet or CSV file, or SQL for DuckDB"),
    ] = None,
    key: Annotated[
        list[str] | None, typer.Option(help="key column of --offline; may be given again")
    ] = None,
    time_column: Annotated[
        str | None, typer.Option("--time", help="column of --offline that says since when")
    ] = None,
    max_age: Annotated[
        float | None, typer.Option(help="seconds after which a row of --offline counts as none")
    ] = None,
    timeout: Annotated[float, typer.Option(min=1, help="seconds to wait for --live")] = 300.0,
    server: ServerOption = DEFAULT_SERVER,
    token: TokenOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Classify what is wrong with live predictions. 0: healthy, 1: a finding, 4: can't be said."""
    if offline is not None and not key:
        fail("--offline needs --key: which columns say whose value a row is.", Exit.USAGE)
    with connected(server, token) as client:
        if live:
            _replay(client, endpoint, timeout)
        table = None
        if offline is not None and key:
            wanted = client.sampled_keys(endpoint, key, version)
            table = read_source(offline, key, time_column, max_age, wanted)
        found = client.diagnose(
            endpoint, window=window, version=version, caller=caller, offline=table
        )
    if output is Output.JSON:
        show_json(found)
    else:
        show(found)
    raise typer.Exit(EXITS.get(str(found["verdict"]), Exit.FINDING))


def _replay(client: "Client", endpoint: str, timeout: float) -> None:
    """Have what is served verified now, and wait for the end of it."""
    found: dict[str, Any] = client.verify(endpoint)
    deadline = time.monotonic() + timeout
    with stderr().status("replaying golden rows on the running replicas"):
        while any(each["status"] != "ended" for each in found["verifications"]):
            if time.monotonic() > deadline:
                fail(f"The golden replay is not over after {timeout:g} s.", Exit.UNDECIDED)
            time.sleep(_LOOK_S)
            found = client.verification(endpoint)
