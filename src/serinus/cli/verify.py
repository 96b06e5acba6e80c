"""``serinus verify``: the gates before traffic, on a replica of its own or on a running server.

Alone it needs no server and changes nothing but the stores of models and environments.
"""

import os
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from serinus.cli.configuration import ConfigOption, settings_in_force
from serinus.cli.connection import DEFAULT_SERVER, ServerOption, TokenOption, connected
from serinus.cli.output import (
    Exit,
    Output,
    OutputOption,
    fail,
    refused,
    show_json,
    stderr,
    stdout,
)
from serinus.errors import SerinusError
from serinus.settings import Settings

if TYPE_CHECKING:
    from serinus.client import Client

__all__ = ["verify"]

_COLOURS = {"pass": "green", "fail": "bold red", "skipped": "dim", "waived": "yellow"}
_LOOK_S = 0.3


def verify(
    model: Annotated[
        str | None,
        typer.Argument(help="models:/name/2 or a model's directory", show_default=False),
    ] = None,
    endpoint: Annotated[
        str | None,
        typer.Option(help="verify what this endpoint serves, on its replicas", show_default=False),
    ] = None,
    home: Annotated[
        Path | None, typer.Option(help="where models and environments are kept (default: .serinus)")
    ] = None,
    config: ConfigOption = None,
    timeout: Annotated[
        float, typer.Option(min=1, help="seconds for an endpoint's replicas to be verified")
    ] = 300.0,
    server: ServerOption = DEFAULT_SERVER,
    token: TokenOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Hold a model against its contract through a real replica; it ends with 1 if a gate fails."""
    if endpoint is not None:
        with connected(server, token) as client:
            reports = _on_server(client, endpoint, model, timeout)
    elif model is not None:
        reports = [_alone(model, settings_in_force(config, home=home))]
    else:
        fail("Name a model, or an endpoint with --endpoint.", Exit.USAGE)
    if output is Output.JSON:
        show_json(reports[0] if endpoint is None else {"verifications": reports})
    else:
        for each in reports:
            _show(each)
    if any(each["result"] == "fail" for each in reports):
        raise typer.Exit(Exit.FINDING)


def _alone(uri: str, settings: Settings) -> dict[str, Any]:
    """The report on a model that nobody serves."""
    # psutil, NumPy and uv: no other command needs them.
    import msgspec  # noqa: PLC0415
    from uv import find_uv_bin  # noqa: PLC0415

    from serinus.engine.artifacts import ModelStore  # noqa: PLC0415
    from serinus.engine.environment import EnvironmentBuilder, Policy  # noqa: PLC0415
    from serinus.engine.registry import default_tracking_uri, resolve  # noqa: PLC0415
    from serinus.engine.trial import TrialFailed, trial  # noqa: PLC0415
    from serinus.engine.verifying import verify_replica  # noqa: PLC0415

    store = ModelStore(settings.home)
    builder = EnvironmentBuilder(
        settings.home, find_uv_bin(), environ=os.environ, policy=Policy(settings.environments)
    )
    tracking = settings.tracking_uri or default_tracking_uri(Path.cwd())
    try:
        with (
            stderr().status("fetching the model") as status,
            tempfile.TemporaryDirectory(prefix="srn-") as scratch,
        ):
            ref = resolve(uri, store=store, tracking_uri=tracking, environ=os.environ)
            with trial(
                ref,
                Path(scratch),
                store=store,
                builder=builder,
                environ=os.environ,
                clock=lambda: datetime.now(UTC),  # noqa: TID251 - the composition root of the trial
                say=lambda line: status.update(escape(line)),
                threads=settings.threads,
                max_batch=settings.max_batch,
            ) as replica:
                status.update("trying the gates")
                report = verify_replica(store.path(ref.digest), replica.address, ref.digest)
    except SerinusError as error:
        refused(error)
    except TrialFailed as error:
        fail(str(error))
    return {"model": ref.resolved, **msgspec.to_builtins(report)}


def _on_server(
    client: "Client", endpoint: str, model: str | None, timeout: float
) -> list[dict[str, Any]]:
    """The reports of the server, once it has verified anew."""
    found = client.verify(endpoint)
    deadline = time.monotonic() + timeout
    with stderr().status(f"verifying what {escape(endpoint)} serves"):
        while True:
            some = [each for each in found["verifications"] if _is_meant(each, model)]
            if not some:
                what = "nothing yet" if model is None else f"no {model}"
                fail(
                    f"The endpoint '{endpoint}' serves {what}; see: serinus endpoints get",
                    Exit.FINDING if model is None else Exit.USAGE,
                )
            if all(each["status"] == "ended" for each in some):
                return some
            if time.monotonic() > deadline:
                fail(f"The verification is not over after {timeout:g} s.", Exit.UNDECIDED)
            time.sleep(_LOOK_S)
            found = client.verification(endpoint)


def _is_meant(report: dict[str, Any], model: str | None) -> bool:
    """Whether the report is on this model: by URI, by name, or by a path that leads there."""
    if model is None or model in (report["model"], report["served_entity"]):
        return True
    return Path(model).is_dir() and Path(model).resolve() == Path(report["model"]).resolve()


def _show(report: dict[str, Any]) -> None:
    out = stdout()
    table = Table("gate", "result", "class", "stage", "detail")
    for each in report["gates"]:
        word = each["result"]
        table.add_row(
            each["name"],
            f"[{_COLOURS[word]}]{word}[/]",
            each["class"],
            escape(each["stage"]),
            escape(each["detail"]),
        )
    out.print(table)
    for sentence in report["notes"]:
        out.print(f"[yellow]![/] {escape(sentence)}", soft_wrap=True)
    word = report["result"] or "none"
    name = report.get("served_entity") or report.get("model") or ""
    rows = f"{report['rows']} golden rows"
    out.print(f"[{_COLOURS.get(word, 'dim')}]{word}[/] {escape(name)} ({rows})", soft_wrap=True)
