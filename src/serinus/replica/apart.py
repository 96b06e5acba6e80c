"""Runs one function in a copy of this process and hands back its words.

What it imports, and the memory of that, is gone with it. A copy that ends by itself or takes too
long says nothing: the caller must take that for "not proved".
"""

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable

import msgspec

__all__ = ["Apart", "apart"]

_PIECE = 65_536


class Apart(Exception):
    """The copy gave no answer; the message says why."""


def apart(what: Callable[[], list[str]], budget_s: float) -> list[str]:
    """What it returns, from a process of its own; raises Apart.

    Threads of this process do not live on in the copy, so ``what`` must not need them.
    """
    out, into = os.pipe()
    try:
        pid = os.fork()
    except OSError as error:
        os.close(out)
        os.close(into)
        raise Apart(f"no process for it could be made ({error})") from error
    if pid == 0:
        os.close(out)
        _child(what, into)
    os.close(into)
    try:
        content = _read(out, budget_s)
    finally:
        os.close(out)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)  # it has said all, or will not
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
    try:
        return msgspec.json.decode(content, type=list[str])
    except msgspec.DecodeError:
        raise Apart("the process that was to find out ended without a word") from None


def _child(what: Callable[[], list[str]], into: int) -> None:
    try:
        content = msgspec.json.encode(what())
        while content:
            content = content[os.write(into, content) :]
    finally:
        os._exit(0)  # nothing of the original's own is to be ended or written twice


def _read(out: int, budget_s: float) -> bytes:
    content, end = b"", time.monotonic() + budget_s
    while True:
        ready, _, _ = select.select([out], [], [], max(0.0, end - time.monotonic()))
        if not ready:
            raise Apart(f"it took longer than {budget_s:g} s to find out")
        piece = os.read(out, _PIECE)
        if not piece:
            return content
        content += piece
