"""``serinus reload``: asks the server of a home to replace its gateways, and waits for it.

It needs no HTTP: the server is found by the pid in its home, on this machine.
"""

import os
import signal
import time
from pathlib import Path
from typing import NoReturn

from serinus.cli.output import Exit, Output, fail, show_json, stdout
from serinus.server.layout import Layout
from serinus.server.reload import ReloadState, ReloadStatus, read_status

__all__ = ["replace_gateways"]

_LOOK_S = 0.1


def replace_gateways(home: Path, timeout: float, output: Output) -> int:
    """Have all gateways replaced; returns an exit code."""
    layout = Layout(home)
    pid, before = _server(layout), read_status(layout.reload)
    if before is None:
        _unreachable(f"the server of {home} (pid {pid}) is still starting; try again in a moment")
    try:
        os.kill(pid, signal.SIGUSR1)
    except ProcessLookupError:
        _unreachable(f"no server runs on {home}: the pid {pid} that it left is nobody's")
    except PermissionError:
        fail(f"the server of {home} (pid {pid}) belongs to another user", Exit.USAGE)
    status = _wait(layout, pid, before, timeout)
    if output is Output.JSON:
        show_json(
            {"state": status.state.value, "gateways": list(status.gateways), "why": status.why}
        )
    else:
        said = status.why or f"serving now: {', '.join(status.gateways)}"
        stdout().print(f"{status.state.value}: {said}", soft_wrap=True, markup=False)
    match status.state:
        case ReloadState.DONE:
            return Exit.GOOD
        case ReloadState.FAILED:
            return Exit.FINDING
        case ReloadState.IDLE | ReloadState.REPLACING:
            return Exit.UNDECIDED


def _server(layout: Layout) -> int:
    try:
        return int(layout.lock.read_text())
    except (OSError, ValueError):
        _unreachable(f"no server runs on {layout.home}; name another one with --home")


def _wait(layout: Layout, pid: int, before: ReloadStatus, timeout: float) -> ReloadStatus:
    """The status once it is decided, or as it is when the time is over."""
    give_up_at = time.monotonic() + timeout
    while True:
        status = read_status(layout.reload) or before
        if status.number > before.number and status.state is not ReloadState.REPLACING:
            return status
        if time.monotonic() > give_up_at:
            return status
        if not _lives(pid):
            fail(f"the server (pid {pid}) ended meanwhile", Exit.UNREACHABLE)
        time.sleep(_LOOK_S)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _unreachable(text: str) -> NoReturn:
    fail(text, Exit.UNREACHABLE)
