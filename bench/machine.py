"""What a result was measured on, and how disturbed the machine was while it was measured.

Never names the host, its user or its paths: results are published.
"""

import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

__all__ = ["describe", "machine_busy_seconds", "noise_ms", "plain_loop"]

_PACKAGES = """
fastapi httptools httpx mlflow mlflow-skinny msgspec numpy orjson pandas psutil
scikit-learn serinus sqlalchemy starlette uvicorn uvloop
"""


def describe() -> dict[str, Any]:
    """CPU, memory, system, Python and package versions."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: found for name in _PACKAGES.split() if (found := _version(name))},
        "load_average_before": [round(value, 2) for value in os.getloadavg()],
    }


def noise_ms() -> float:
    """Milliseconds that a fixed piece of Python takes now, the best of three."""
    return min(_fixed_loop() for _ in range(3))


def machine_busy_seconds() -> float:
    """CPU seconds used so far by everything on the machine, its host's theft included."""
    times = psutil.cpu_times()
    return float(
        sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0)
    )


def plain_loop(steps: int) -> int:
    """A fixed amount of plain Python: a dictionary counter and an addition a step."""
    counts: dict[int, int] = {}
    total = 0
    for each in range(steps):
        bucket = each & 255
        counts[bucket] = counts.get(bucket, 0) + 1
        total += each
    return total


def _fixed_loop() -> float:
    begin = time.perf_counter()
    total = 0
    for number in range(100_000):
        total += number * number % 7
    return (time.perf_counter() - begin) * 1000


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.lower().startswith(("model name", "cpu model")):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
