"""What a process computes with: Python, the machine, every library that is loaded, and settings.

It looks; it installs and imports nothing.
"""

import hashlib
import importlib.metadata
import locale
import os
import platform
import sys
import time
from typing import Any

import msgspec
import numpy as np

from serinus.parity.canonical import decode

__all__ = ["Distribution", "Lock", "current_lock", "read_lock_bytes"]

_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "PYTHONHASHSEED",
    "TZ",
    "LANG",
    "LC_ALL",
)


class Distribution(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One installed distribution."""

    version: str
    #: Over the hashes of its files as its RECORD lists them; empty where there is none.
    sha256: str = ""


class Lock(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One environment, as ``env.json`` holds it."""

    python: str
    implementation: str = ""
    system: str = ""
    machine: str = ""
    libc: str = ""
    cpu_features: list[str] = []
    #: Name in lower case with dashes → what is installed.
    distributions: dict[str, Distribution] = {}
    blas: list[str] = []
    threads: int | None = None
    variables: dict[str, str] = {}
    encoding: str = ""
    timezone: str = ""
    #: ``process``: read from a running one; ``requirements``: from what was logged.
    source: str = "process"


def read_lock_bytes(content: bytes) -> Lock:
    """The environment in the bytes of ``env.json``; raises ContractBroken."""
    return decode(content, Lock, "env.json")


def current_lock() -> Lock:
    """The environment of this process, with the distributions that it has imported so far."""
    return Lock(
        python=platform.python_version(),
        implementation=platform.python_implementation(),
        system=f"{platform.system()} {platform.release()}",
        machine=platform.machine(),
        libc=" ".join(platform.libc_ver()).strip(),
        cpu_features=_cpu_features(),
        distributions=_distributions(),
        blas=_blas(),
        threads=os.cpu_count(),
        variables={name: os.environ[name] for name in _VARIABLES if name in os.environ},
        encoding=f"{sys.getfilesystemencoding()} {locale.getlocale()[0] or 'C'}",
        timezone=time.tzname[0],
    )


def _distributions() -> dict[str, Distribution]:
    loaded = {name.partition(".")[0] for name in sys.modules}
    owners = importlib.metadata.packages_distributions()
    names = {owner for package in loaded & owners.keys() for owner in owners[package]}
    found = {}
    for name in sorted(names):
        distribution = importlib.metadata.distribution(name)
        key = name.lower().replace("_", "-").replace(".", "-")
        found[key] = Distribution(distribution.version, _record_digest(distribution))
    return found


def _record_digest(distribution: importlib.metadata.Distribution) -> str:
    """Over the files that came in the wheel; what an installer adds differs."""
    record = distribution.read_text("RECORD")
    if record is None:
        return ""
    lines = [
        line
        for line in sorted(record.splitlines())
        if ",sha256=" in line
        and not line.startswith("..")
        and not line.split(",")[0].endswith((".pyc", "INSTALLER", "REQUESTED", "direct_url.json"))
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _cpu_features() -> list[str]:
    """What NumPy found that this machine can do; it picks its loops by that."""
    core: Any = getattr(np, "_core", None) or getattr(np, "core", None)
    features = getattr(getattr(core, "_multiarray_umath", None), "__cpu_features__", {})
    return sorted(name for name, there in features.items() if there)


def _blas() -> list[str]:
    threadpoolctl = sys.modules.get("threadpoolctl")  # scikit-learn brings it
    if threadpoolctl is None:
        return []
    return sorted(
        f"{each.get('internal_api')} {each.get('version')} {each.get('architecture', '')}".strip()
        for each in threadpoolctl.threadpool_info()
    )
