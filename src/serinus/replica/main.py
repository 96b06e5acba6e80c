"""The replica process: ``python -m serinus.replica.main REPLICA_DIR``. Load, prove, serve, drain.

It sets thread limits before anything that reads them is imported, so what it imports at the top
is the standard library and what has no numbers in it.
"""

import contextlib
import faulthandler
import gc
import importlib
import io
import logging
import os
import signal
import sys
import traceback
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from serinus.replica.launch import Launch, Phase, Status, read_launch, write_status
from serinus.replica.logs import configure_logging
from serinus.replica.watchdog import Watchdog

__all__ = ["main"]

_log = logging.getLogger("serinus.replica")
_THREAD_LIMITS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "BLIS_NUM_THREADS",
    "LOKY_MAX_CPU_COUNT",
)


def main(directory: Path) -> int:
    """Serve what ``launch.json`` in that directory names; returns the exit code."""
    launch = read_launch(directory)
    _prepare(launch)
    status = Path(launch.status_path)
    write_status(status, Status(Phase.LOADING, pid=os.getpid()))
    loops: list[Any] = []

    def drain() -> None:
        if not loops:  # still loading, and nobody waits for it any more
            os._exit(1)
        loops[0].drain()

    Watchdog(launch, drain).start()
    try:
        # Imports NumPy and the model's packages, hence after the limits are set.
        serving = importlib.import_module("serinus.replica.serving")
        ready, loop = serving.prepare(launch, Random(0))  # noqa: S311 - no secret
    except BaseException as error:  # noqa: BLE001 - sys.exit while loading is a failure too
        traceback.print_exc()
        write_status(status, Status(Phase.FAILED, _place(error), pid=os.getpid()))
        return 1
    loops.append(loop)
    signal.signal(signal.SIGTERM, lambda _signal, _frame: loop.drain())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    write_status(status, ready)
    _log.info("action=ready batched=%s batching=%s", ready.batched, ready.batching)
    _log.info("action=form form=%s reason=%s", ready.form, ready.form_reason)
    draining = replace(ready, phase=Phase.DRAINING)
    _let_gateways_finish()
    loop.run(on_drain=lambda: write_status(status, draining))
    return 0


def _prepare(launch: Launch) -> None:
    for name in _THREAD_LIMITS:
        os.environ[name] = str(launch.threads)
    # MLflow would call home from each replica.
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["DO_NOT_TRACK"] = "true"
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A model prints what it likes; that must never be an error.
            stream.reconfigure(line_buffering=True, errors="backslashreplace")
    with contextlib.suppress(ValueError, io.UnsupportedOperation):
        faulthandler.enable()
    configure_logging(as_json=launch.log_json)


def _let_gateways_finish() -> None:
    """Where cores are few, a replica that wakes up takes none from a gateway in mid-turn.

    What came meanwhile is one call for it, and nobody's answer waits for the gateway to go on.
    """
    if hasattr(os, "SCHED_BATCH"):
        with contextlib.suppress(OSError):  # a sandbox may forbid it
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _place(error: BaseException) -> str:
    """The exception's own words, and where it was raised."""
    words = "".join(traceback.format_exception_only(error)).strip()
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return words
    # What is frozen into the interpreter (`os.environ` is) has no file that anybody could look at.
    seen = [each for each in frames if not each.filename.startswith("<frozen")]
    last = (seen or frames)[-1]
    return f"{words} (in {last.name}, {Path(last.filename).name} line {last.lineno})"


def _run(arguments: list[str]) -> int:
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m serinus.replica.main REPLICA_DIR\n")
        return 2
    return main(Path(arguments[0]))


if __name__ == "__main__":
    sys.exit(_run(sys.argv[1:]))
