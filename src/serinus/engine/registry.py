"""From a model URI to a pinned model: read the registry once, copy the files, remember the digest.

It must never import mlflow here (a child process does, so a registry that hangs can be killed) and
never load a model.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from serinus.engine.artifacts import ModelStore
from serinus.engine.remote import check_remote, is_remote, write_remote
from serinus.engine.scratch import scratch
from serinus.entities import ModelRef
from serinus.errors import (
    InternalError,
    InvalidParameterValue,
    ResourceDoesNotExist,
    SerinusError,
    TemporarilyUnavailable,
)

__all__ = ["check_uri", "default_tracking_uri", "failure", "resolve"]

_MAX_URI = 2048
_MAX_NAME = 256
_REMOTE = ("models:/", "runs:/")
_KNOWN = (
    "models:/name/version, models:/name@alias, runs:/run_id/path, a local path, or a scoring URL"
)
_SECRET_IN_URI = re.compile(r"//[^/@\s]+@")


def default_tracking_uri(directory: Path) -> str:
    """The tracking store that mlflow 3.17 uses in ``directory`` when nothing is configured.

    What mlflow does (``mlflow.tracking._tracking_service.utils``): ``MLFLOW_TRACKING_URI`` if it is
    set; else ``./mlruns`` if that holds an experiment (a folder of digits with ``meta.yaml``), for
    people who come from older versions; else ``sqlite:///<current directory>/mlflow.db``.
    """
    runs = directory / "mlruns"
    if any(each.parent.name.isdigit() for each in runs.glob("*/meta.yaml")):
        return (runs.absolute()).as_uri()
    return f"sqlite:///{directory.absolute() / 'mlflow.db'}"


def check_uri(uri: str) -> str:
    """Return the URI without white space around it; raises InvalidParameterValue with a reason."""
    uri = uri.strip()
    shown = uri if len(uri) <= 200 else f"{uri[:200]}…"
    if not uri:
        raise InvalidParameterValue(f"The model URI is empty; give {_KNOWN}.")
    if len(uri) > _MAX_URI:
        raise InvalidParameterValue(
            f"The model URI {shown!r} has {len(uri)} characters; at most {_MAX_URI} are allowed."
        )
    if any(ord(each) < 32 or ord(each) == 127 for each in uri):
        raise InvalidParameterValue(f"The model URI {shown!r} contains a control character.")
    scheme = uri.split(":", 1)[0] if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", uri) else ""
    if scheme not in ("", "file", "models", "runs") and not is_remote(uri):
        raise InvalidParameterValue(f"The model URI {shown!r} is of no known kind; give {_KNOWN}.")
    if scheme in ("models", "runs"):
        _check_remote(uri, scheme)
    return uri


def resolve(
    uri: str,
    *,
    store: ModelStore,
    tracking_uri: str,
    environ: Mapping[str, str],
    timeout_s: float = 600.0,
    python: str = sys.executable,
    remote_hosts: Collection[str] = (),
) -> ModelRef:
    """Fetch a model into the store and pin it. Blocks: call it from a background thread.

    ``environ`` is handed to the child that talks to the registry (it needs the credentials).
    ``remote_hosts`` are those whose scoring URLs may be served.
    Raises InvalidParameterValue (URI or model is no good), ResourceDoesNotExist (no such model,
    version, alias or run) and TemporarilyUnavailable (registry unreachable, too slow, disk full).
    """
    uri = check_uri(uri)
    if is_remote(uri):
        check_remote(uri, remote_hosts)
        with scratch(store.root, ".fetching-") as place:
            written = write_remote(uri, place)
            return store.ref(store.add(written), uri=uri, resolved=uri)
    if not uri.startswith(_REMOTE):
        directory = _local(uri)
        return store.ref(store.add(directory), uri=uri, resolved=str(directory))
    with scratch(store.root, ".fetching-") as place:
        answer = _fetch(uri, str(place), tracking_uri, environ, timeout_s, python)
        directory = Path(answer["local_dir"])
        if not (directory / "MLmodel").is_file():
            raise InvalidParameterValue(
                f"{uri} leads to files without an MLmodel among them; name the path that the model "
                "was logged under."
            )
        return store.ref(store.add(directory), uri=uri, resolved=answer["resolved"])


def _check_remote(uri: str, scheme: str) -> None:
    rest = unquote(uri.split(":", 1)[1])
    if not rest.startswith("/") or rest.startswith("//"):
        raise InvalidParameterValue(
            f"The model URI {uri!r} must begin with {scheme}:/ (one slash)."
        )
    parts = rest.strip("/").split("/")
    if any(part in ("", ".", "..") or "\\" in part for part in parts):
        raise InvalidParameterValue(
            f"The model URI {uri!r} has an empty part, '.', '..' or a backslash; give {_KNOWN}."
        )
    if any(len(part) > _MAX_NAME for part in parts):
        raise InvalidParameterValue(
            f"The model URI {uri[:200]!r} has a part of more than {_MAX_NAME} characters."
        )
    if scheme == "runs" and len(parts) < 2:
        raise InvalidParameterValue(f"The model URI {uri!r} lacks its path: runs:/run_id/path.")
    if scheme == "models":
        _check_registered(uri, parts)


def _check_registered(uri: str, parts: list[str]) -> None:
    if len(parts) == 2 and "@" not in parts[0] and parts[1].isdecimal():
        return
    if len(parts) == 1 and re.fullmatch(r"[^@]+@[^@]+|m-[0-9a-f]{32}", parts[0]):
        return
    raise InvalidParameterValue(
        f"The model URI {uri!r} must name a version or an alias: models:/name/3 or "
        "models:/name@champion."
    )


def _local(uri: str) -> Path:
    if uri.startswith("file:"):
        split = urlsplit(uri)
        if split.netloc not in ("", "localhost"):
            raise InvalidParameterValue(f"The model URI {uri!r} names another machine; use a path.")
        path = Path(unquote(split.path))
    else:
        path = Path(uri).expanduser()
    if not path.is_dir():
        raise ResourceDoesNotExist(f"There is no directory {uri}; give {_KNOWN}.")
    return path.resolve()


def _fetch(
    uri: str,
    scratch: str,
    tracking_uri: str,
    environ: Mapping[str, str],
    timeout_s: float,
    python: str,
) -> dict[str, str]:
    """Run the child and read its one line of JSON; raises for all that may go wrong."""
    command = [python, "-m", "serinus.engine.fetch", uri, scratch]
    return _ask(command, uri, scratch, tracking_uri, environ, timeout_s)


def move_alias(
    uri: str,
    alias: str,
    *,
    tracking_uri: str,
    environ: Mapping[str, str],
    timeout_s: float = 60.0,
    python: str = sys.executable,
) -> None:
    """Point ``alias`` of the registered model at the version in ``models:/name/version``.

    Raises as `resolve` does; a model that is not registered has no alias to move.
    """
    if not re.fullmatch(r"models:/[^/@]+/\d+", uri):
        raise InvalidParameterValue(f"{uri} is no registered version, so it can have no alias.")
    with tempfile.TemporaryDirectory() as scratch:
        command = [python, "-m", "serinus.engine.fetch", "--alias", uri, alias]
        _ask(command, uri, scratch, tracking_uri, environ, timeout_s)


def _ask(
    command: list[str],
    uri: str,
    scratch: str,
    tracking_uri: str,
    environ: Mapping[str, str],
    timeout_s: float,
) -> dict[str, str]:
    child = subprocess.Popen(
        command,
        env={
            **environ,
            "MLFLOW_TRACKING_URI": tracking_uri,
            "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
            # mlflow's own default is minutes of retries on a registry that is down.
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": environ.get("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2"),
            # So that its temporary files go when ours go, even when it had to be killed.
            "TMPDIR": scratch,
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
        errors="replace",
    )
    try:
        out, err = child.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
        raise TemporarilyUnavailable(
            f"{uri} could not be fetched from {_shown(tracking_uri)} within {timeout_s:g} s; look "
            "whether that server answers, then try again."
        ) from None
    try:
        answer: dict[str, str] = json.loads(out)
    except ValueError:
        last = (err.strip().splitlines() or [f"exit code {child.returncode}"])[-1]
        raise InternalError(f"Fetching {uri} from {_shown(tracking_uri)} failed: {last}") from None
    if "error" in answer:
        raise failure(uri, tracking_uri, answer)
    return answer


def failure(uri: str, tracking_uri: str, answer: dict[str, str]) -> SerinusError:
    """What the child gave for an answer, as one sentence with the URI in it."""
    words, code = answer["error"], answer["code"]
    said = _SECRET_IN_URI.sub("//…@", " ".join(words.split()))[:500].rstrip(".")
    missing = re.search(
        r"not found|no such|does not exist|no versions? of|404", said, re.IGNORECASE
    )
    if code == "RESOURCE_DOES_NOT_EXIST" or missing:
        return ResourceDoesNotExist(f"{uri} does not exist in {_shown(tracking_uri)}: {said}.")
    if code in ("INVALID_PARAMETER_VALUE", "BAD_REQUEST"):
        return InvalidParameterValue(f"{uri} can't be fetched from {_shown(tracking_uri)}: {said}.")
    return TemporarilyUnavailable(
        f"{uri} can't be fetched, since {_shown(tracking_uri)} did not answer as it should: {said}."
    )


def _shown(tracking_uri: str) -> str:
    """The tracking URI without a password in it."""
    return _SECRET_IN_URI.sub("//…@", tracking_uri)
