"""Asks a tracking server for one model and prints where it is, as JSON. Runs as its own process.

``python -m serinus.engine.fetch URI DIRECTORY``, or ``--alias URI ALIAS`` to move an alias, with
``MLFLOW_TRACKING_URI`` in the environment. Only this module imports mlflow in the server, and it
never loads a model.
"""

import contextlib
import gc
import json
import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    # It lives for seconds, most of them spent on mlflow's import; an eighth of those went to the
    # search for garbage that there is none of.
    gc.disable()

from mlflow.artifacts import download_artifacts
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from serinus.errors import described

__all__ = ["main", "move_alias"]


def main(uri: str, directory: str) -> dict[str, str]:
    """Resolve ``uri`` once and download its files; the result has ``error`` when that failed."""
    try:
        resolved, version = _pin(uri)
        local = download_artifacts(artifact_uri=resolved, dst_path=directory)
    except MlflowException as error:
        return {"error": error.message, "code": error.error_code}
    except Exception as error:  # noqa: BLE001 - plugins and cloud clients raise anything
        return {"error": described(error), "code": "OTHER"}
    return {"resolved": resolved, "version": version, "local_dir": str(_model_root(Path(local)))}


def move_alias(uri: str, alias: str) -> dict[str, str]:
    """Point an alias at the version in ``models:/name/version``; ``error`` when that failed."""
    name, _, version = uri.removeprefix("models:/").partition("/")
    try:
        MlflowClient().set_registered_model_alias(name, alias, version)
    except MlflowException as error:
        return {"error": error.message, "code": error.error_code}
    except Exception as error:  # noqa: BLE001 - as in `main`
        return {"error": described(error), "code": "OTHER"}
    return {"resolved": uri, "version": version}


def _pin(uri: str) -> tuple[str, str]:
    """A URI that can't move any more, and the version in it."""
    if not uri.startswith("models:/"):
        return uri, ""
    name, _, rest = uri.removeprefix("models:/").partition("/")
    client: Any = MlflowClient()
    if rest:
        client.get_model_version(name, rest)
        return uri, rest
    name, at, alias = name.partition("@")
    if not at:
        return uri, ""  # models:/<model id>: the id of a logged model, which never moves
    version = str(client.get_model_version_by_alias(name, alias).version)
    return f"models:/{name}/{version}", version


def _model_root(path: Path) -> Path:
    return path if path.is_dir() else path.parent


if __name__ == "__main__":
    # Whatever mlflow prints must not get between the caller and the one line of JSON.
    with contextlib.redirect_stdout(sys.stderr):
        alias = sys.argv[1] == "--alias"
        answer = move_alias(*sys.argv[2:4]) if alias else main(sys.argv[1], sys.argv[2])
    sys.stdout.write(json.dumps(answer) + "\n")
