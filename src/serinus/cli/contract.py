"""``serinus contract``: capture, show and compare what training promised of a model.

It works on files and the registry, without a server; it never writes to the registry.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serinus.cli.output import (
    Exit,
    Output,
    OutputOption,
    fail,
    note,
    refused,
    show_json,
    stderr,
)
from serinus.errors import SerinusError
from serinus.parity.canonical import ContractBroken, ContractForeign

if TYPE_CHECKING:
    from serinus.parity.folder import Bundle

__all__ = ["contract"]

contract = typer.Typer(
    no_args_is_help=True, help="Capture, show and compare what training promised of a model."
)
ModelArgument = Annotated[
    str,
    typer.Argument(help="models:/name/2, a model's directory or a contract's", show_default=False),
]


@contract.command()
def capture(
    model: Annotated[
        str, typer.Argument(help="models:/name/2 or a model's directory", show_default=False)
    ],
    sample: Annotated[
        Path,
        typer.Option(
            help="rows that it was trained or judged on: .parquet, .csv, .json or .jsonl",
            show_default=False,
        ),
    ],
    into: Annotated[
        Path | None,
        typer.Option(help="directory to write (default: ./NAME-contract)", show_default=False),
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="column of the sample with the labels", show_default=False)
    ] = None,
    times: Annotated[
        str | None,
        typer.Option(
            help="column of the sample with the times of the predictions", show_default=False
        ),
    ] = None,
    declared: Annotated[
        Path | None,
        typer.Option(help="YAML or JSON: field → what is known of it", show_default=False),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="score from which it decides", show_default=False)
    ] = None,
    stage: Annotated[
        list[str] | None,
        typer.Option(help="STAGE=METHOD of the model; repeat", show_default=False),
    ] = None,
    on_leak: Annotated[
        str, typer.Option(help="refuse or warn: a feature that serving will not know")
    ] = "refuse",
    output: OutputOption = Output.TABLE,
) -> None:
    """Make a contract for a model that was logged without one; the model stays as it is."""
    named = dict(_stage(each) for each in stage or [])
    said = _declared(declared)
    # The model's own libraries, and seconds of import.
    try:
        from serinus.cli.contract_sample import load_model, read_sample  # noqa: PLC0415
        from serinus.parity.capture import capture as run  # noqa: PLC0415
    except ImportError as error:
        fail(f"{error}; install what the model needs beside serinus", Exit.USAGE)
    with _model(model) as (directory, name), _told():
        rows, labels = read_sample(sample, directory, label)
        with stderr().status("asking the model"):
            bundle = run(
                load_model(directory),
                rows,
                labels,
                declared=said,
                stages=named,
                entity_times=times,
                into=directory,
                directory=into or Path(f"{name}-contract"),
                label=label,
                threshold=threshold,
                on_leak=on_leak,
                say=note,
            )
    note(f"written to {into or Path(f'{name}-contract')}")
    _show(bundle, output)


@contract.command()
def show(model: ModelArgument, output: OutputOption = Output.TABLE) -> None:
    """Show a model's contract; of a model without one, what MLflow's files promise."""
    with _told():
        bundle = _bundle(model)
    _show(bundle, output)


@contract.command()
def diff(
    old: ModelArgument,
    new: ModelArgument,
    output: OutputOption = Output.TABLE,
) -> None:
    """Say what changed between two contracts and whether clients must care; then it ends with 1."""
    from serinus.cli.contract_screen import show_changes  # noqa: PLC0415 - Rich tables
    from serinus.parity.diff import Severity, differences  # noqa: PLC0415 - NumPy

    with _told():
        changes = differences(_bundle(old), _bundle(new))
    if output is Output.JSON:
        show_json(
            [
                {
                    "severity": each.severity.value,
                    "where": each.where,
                    "what": each.what,
                    "old": each.old,
                    "new": each.new,
                    "why": each.why,
                }
                for each in changes
            ]
        )
    else:
        show_changes(changes)
    if any(each.severity is Severity.BREAKING for each in changes):
        raise typer.Exit(Exit.FINDING)


def _show(bundle: "Bundle", output: Output) -> None:
    from serinus.cli.contract_screen import as_document, show_contract  # noqa: PLC0415 - as above

    if output is Output.JSON:
        show_json(as_document(bundle))
    else:
        show_contract(bundle)


def _bundle(model: str) -> "Bundle":
    """The contract of a model, or in a directory of its own."""
    from serinus.parity.derived import of_model  # noqa: PLC0415 - NumPy
    from serinus.parity.folder import read_bundle  # noqa: PLC0415

    if (Path(model) / "contract.json").is_file():
        return read_bundle(Path(model))
    with _model(model) as (directory, _):
        return of_model(directory)


@contextmanager
def _model(uri: str) -> Iterator[tuple[Path, str]]:
    """The directory of a model and a name for it; fetched ones are gone afterwards."""
    import tempfile  # noqa: PLC0415 - only where something is fetched

    from serinus.engine.artifacts import ModelStore  # noqa: PLC0415
    from serinus.engine.registry import default_tracking_uri, resolve  # noqa: PLC0415

    if Path(uri).is_dir():
        yield Path(uri), Path(uri).resolve().name
        return
    tracking = os.environ.get("MLFLOW_TRACKING_URI") or default_tracking_uri(Path.cwd())
    with tempfile.TemporaryDirectory(prefix="serinus-contract-") as scratch, _told():
        store = ModelStore(Path(scratch))
        ref = resolve(uri, store=store, tracking_uri=tracking, environ=os.environ)
        name = ref.resolved.rpartition(":/")[2].strip("/").replace("/", "-")
        yield store.path(ref.digest), name


@contextmanager
def _told() -> Iterator[None]:
    """What goes wrong becomes one sentence and an exit code."""
    try:
        yield
    except (ContractBroken, ContractForeign) as error:
        # The model is there, and what it brings is at fault.
        fail(f"{error.message} ({error.code})", Exit.FINDING)
    except SerinusError as error:
        refused(error)
    except ImportError as error:
        fail(f"{error}; install what the model needs beside serinus", Exit.USAGE)


def _stage(text: str) -> tuple[str, str]:
    name, equals, method = text.partition("=")
    if not (name and equals and method):
        raise typer.BadParameter(f"--stage {text!r} is not STAGE=METHOD, such as S3=transform")
    return name, method


def _declared(path: Path | None) -> dict[str, Any]:
    """Field → facts from a YAML or JSON file."""
    if path is None:
        return {}
    import yaml  # noqa: PLC0415 - a parser that few commands need

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise typer.BadParameter(f"{path} can't be read: {error.strerror}") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise typer.BadParameter(f"{path} is neither YAML nor JSON: {error}") from error
    if not isinstance(content, dict):
        raise typer.BadParameter(f"{path} must map fields to what is known of them")
    return content
