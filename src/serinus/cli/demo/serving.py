"""Runs ``serinus serve`` as a process of its own for the demo, and ends it with the demo."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from serinus.cli.demo.models import tracking_uri

__all__ = ["ServerFailed", "free_port", "serving"]

_START_S = 60.0
_STOP_S = 45.0
_TAIL = 15


class ServerFailed(Exception):
    """The demo's server did not come up."""


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(home: Path, port: int) -> Iterator[str]:
    """The URL of a server on that home and port; it is drained and ended when the block is left."""
    log = home / "serve.log"
    command = [sys.executable, "-m", "serinus", "serve", "--port", str(port), "--home", str(home)]
    with log.open("wb") as sink:
        process = subprocess.Popen(
            command,
            # Own directory: no stray serinus.toml. Own session: Ctrl-C reaches the demo alone.
            cwd=home,
            env=_environment(home),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _await(process, url, log)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _environment(home: Path) -> dict[str, str]:
    store = tracking_uri(home)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SERINUS_")}
    return kept | {"MLFLOW_TRACKING_URI": store, "MLFLOW_REGISTRY_URI": store}


def _await(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    end = time.monotonic() + _START_S
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        # While nobody is listening yet the deadline above decides.
        with suppress(httpx.TransportError):
            if httpx.get(f"{url}/health", timeout=2.0, trust_env=False).is_success:
                return
        time.sleep(0.1)
    how = (
        "it is still starting" if process.poll() is None else f"it ended with {process.returncode}"
    )
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-_TAIL:])
    raise ServerFailed(f"the server does not answer at {url}: {how}. The end of {log}:\n{tail}")
