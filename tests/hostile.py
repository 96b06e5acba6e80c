"""Models that do harm, at import or when a row asks for it. They load without MLflow, in a second.

Import inside tests only.
"""

import ctypes
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np

from bench.hostile_model import save as write

__all__ = ["row", "save"]

cloudpickle.register_pickle_by_value(__import__(__name__, fromlist=["*"]))

_MB = b"x" * (1 << 20)


def row(how: str, x: float = 1.0, **more: Any) -> dict[str, Any]:
    """A request that makes the model do it."""
    return {"dataframe_records": [{"how": how, "x": x, **more}]}


class Hostile:
    """Doubles ``x``, unless ``how`` asks for something else."""

    def __init__(self, at_import: str = "") -> None:
        self.at_import = at_import
        self.held: list[Any] = []

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self.at_import:
            getattr(self, f"do_{self.at_import}")(1.0)

    def predict(self, frame: Any) -> Any:
        how, x = frame["how"].iloc[0], frame["x"].to_numpy()
        return x * 2 if how == "double" else getattr(self, f"do_{how}")(x[0])

    # Answers

    def do_miscount(self, x: float) -> Any:
        return [x] * 7

    def do_gigabyte(self, x: float) -> Any:
        return np.zeros((1, 1 << 27))  # 1 GiB, of which no page is touched

    def do_long_text(self, x: float) -> Any:
        return ["a" * (70 << 20)]

    def do_surrogate(self, x: float) -> Any:
        return ["\ud800"]

    def do_object(self, x: float) -> Any:
        return [object()]

    def do_itself(self, x: float) -> Any:
        found: list[Any] = []
        found.append(found)
        return [found]

    def do_odd(self, x: float) -> Any:
        return np.array([np.nan if x == 1 else np.inf])

    # Output

    def do_print_gigabyte(self, x: float) -> Any:
        for _ in range(1024):
            os.write(1, _MB)
        return [x]

    # Ends

    def do_exit(self, x: float) -> Any:
        os._exit(0)

    def do_sys_exit(self, x: float) -> Any:
        sys.exit(3)

    def do_segv(self, x: float) -> Any:
        ctypes.string_at(0)

    def do_grip(self, x: float) -> Any:
        """Let no other thread of this process run for ``x`` tenths of a second."""
        ctypes.PyDLL(None).usleep(int(x * 1e5))
        return [x]

    def do_hang(self, x: float) -> Any:
        time.sleep(600)

    # Processes

    def do_fork(self, x: float) -> Any:
        """A child, and a grandchild in a session of its own; both deaf to signals, as is this."""
        pids = Path(os.environ["HOSTILE_DIR"]) / "pids"
        for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_IGN)
        if os.fork() == 0:
            self._stay(pids)
        if os.fork() == 0:
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    self._stay(pids)
            os._exit(0)
        while not pids.exists() or len(pids.read_text().split()) < 2:
            time.sleep(0.01)
        return [x]

    def _stay(self, pids: Path) -> None:
        with pids.open("a") as file:
            file.write(f"{os.getpid()}\n")
        while True:
            time.sleep(60)

    def do_threads(self, x: float) -> Any:
        for _ in range(10_000):
            threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
        time.sleep(5)
        return [x]

    # Things

    def do_files(self, x: float) -> Any:
        try:
            for _ in range(1_000_000):
                self.held.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            pass
        return [len(self.held)]

    def do_close(self, x: float) -> Any:
        for each in self.held:
            os.close(each)
        self.held.clear()
        return [x]

    def do_fill(self, x: float) -> Any:
        with Path("filled").open("wb", buffering=0) as file:
            try:
                for _ in range(1 << 20):
                    file.write(_MB)
            except OSError:
                pass
            return [file.tell()]

    def do_memory(self, x: float) -> Any:
        for _ in range(1000):
            self.held.append(np.ones(2 << 20))  # 16 MiB
            time.sleep(0.002)
        return [x]


def save(path: Path, at_import: str = "") -> Path:
    """Write the model into a directory that doesn't exist yet."""
    inputs = '[{"type": "string", "name": "how"}, {"type": "double", "name": "x"}]'
    return write(path, Hostile(at_import), inputs)
