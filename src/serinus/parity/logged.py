"""The directory of a model that is to be captured, wherever it is; also of one that MLflow logged.

A logged model is fetched, and only its contract is logged with it: no other file of it is touched.
"""

import importlib
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

from serinus.errors import InvalidParameterValue, described
from serinus.parity.folder import DIRECTORY

__all__ = ["LoggedModel", "opened"]

_MODEL_ID = re.compile(r"models:/(m-[0-9a-f]{32})")


class LoggedModel(Protocol):
    """What ``mlflow.*.log_model`` returns, as far as it is needed here."""

    @property
    def model_uri(self) -> str: ...


@contextmanager
def opened(
    into: "str | PathLike[str] | LoggedModel | None", *, keep: bool
) -> Iterator[Path | None]:
    """The model's directory while the block runs; None for no model.

    ``into`` is a directory, what ``mlflow.*.log_model`` returned, or a URI ``models:/…`` or
    ``runs:/…``. With ``keep``, the contract that the block wrote into a logged model is logged with
    that model, unless the block raises. Raises InvalidParameterValue.
    """
    place = into if into is None or isinstance(into, str | PathLike) else into.model_uri
    if place is None or not str(place).startswith(("models:/", "runs:/")):
        yield None if place is None else Path(place)
        return
    uri = str(place)
    with tempfile.TemporaryDirectory(prefix="serinus-capture-") as scratch:
        with _told(uri):
            model = Path(_mlflow("artifacts").download_artifacts(uri, dst_path=scratch))
            log = _logger(uri) if keep else None
        yield model
        if log is not None:
            with _told(uri):
                log(model)


def _logger(uri: str) -> Any:
    """What logs the contract of a fetched copy with the model; raises InvalidParameterValue."""
    client = _mlflow("tracking").MlflowClient()
    model_id = _model_id(client, uri)
    if model_id is not None:
        return lambda model: _log_alone(client, model_id, model)
    run, _, path = uri.removeprefix("runs:/").partition("/")
    if uri.startswith("runs:/"):
        return lambda model: client.log_artifacts(
            run, str(model / DIRECTORY), f"{path.strip('/')}/{DIRECTORY}"
        )
    raise InvalidParameterValue(
        f"{uri} was registered from files that are no logged model, so its contract finds no place "
        "beside them. Capture into the directory they came from and register that, or capture into "
        "a directory of its own: directory=…"
    )


def _log_alone(client: Any, model_id: str, model: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="serinus-contract-") as scratch:
        (model / DIRECTORY).rename(Path(scratch, DIRECTORY))
        client.log_model_artifacts(model_id, scratch)


def _model_id(client: Any, uri: str) -> str | None:
    """The logged model that the URI leads to, if it is one."""
    if uri.startswith("runs:/"):
        run, _, path = uri.removeprefix("runs:/").partition("/")
        outputs = getattr(client.get_run(run).outputs, "model_outputs", None) or ()
        logged = (client.get_logged_model(each.model_id) for each in outputs)
        return next((str(each.model_id) for each in logged if each.name == path.strip("/")), None)
    if (found := _MODEL_ID.fullmatch(uri)) is not None:
        return found[1]
    name, _, version = uri.removeprefix("models:/").partition("/")
    name, at, alias = (name, "", "") if version else name.partition("@")
    registered = (
        client.get_model_version_by_alias(name, alias)
        if at
        else client.get_model_version(name, version)
    )
    found = _MODEL_ID.fullmatch(registered.source or "")
    return None if found is None else found[1]


def _mlflow(module: str) -> Any:
    return importlib.import_module(f"mlflow.{module}")  # heavy, and only for logged models


@contextmanager
def _told(uri: str) -> Iterator[None]:
    try:
        yield
    except InvalidParameterValue:
        raise
    except Exception as error:
        raise InvalidParameterValue(
            f"The logged model {uri} can't be reached ({described(error)}); look at "
            "the name and at the tracking server, or capture into a directory of its own: "
            "directory=…"
        ) from error
