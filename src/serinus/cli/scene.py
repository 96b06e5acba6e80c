"""What ``serinus doctor`` looks at: settings, the machine, what a server said. It only reads."""

import resource
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import uv

from serinus.settings import Settings

__all__ = ["Finding", "Machine", "Scene"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check saw."""

    name: str
    ok: bool
    detail: str
    #: How to put it right; empty when nothing is wrong.
    mend: str = ""


def _find_uv() -> str | None:
    try:
        return shutil.which("uv") or uv.find_uv_bin()
    except FileNotFoundError:
        return None


def _free(path: Path) -> int:
    return shutil.disk_usage(path).free


def _open_files() -> int:
    # The hard limit: the server raises its soft one as far as it may.
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def _filesystem(path: Path) -> str:
    """The kind of the filesystem that holds the path; empty where the system does not say."""
    try:
        lines = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    mounts = {fields[1].replace("\\040", " "): fields[2] for fields in map(str.split, lines)}
    return next((mounts[str(each)] for each in (path, *path.parents) if str(each) in mounts), "")


@dataclass(frozen=True, slots=True)
class Machine:
    """How this machine is asked; tests ask another one."""

    #: Where uv is.
    uv: Callable[[], str | None] = _find_uv
    #: Bytes left where a path is.
    free: Callable[[Path], int] = _free
    open_files: Callable[[], int] = _open_files
    filesystem: Callable[[Path], str] = _filesystem


@dataclass(frozen=True, slots=True)
class Scene:
    """What the checks look at."""

    settings: Settings
    server: str
    at: datetime
    #: Headers of the server's answer to a health question; None when nothing answered.
    answer: Mapping[str, str] | None
    #: HTTP status of a call that may need a token; 0 when nothing answered.
    status: int = 0
    machine: Machine = field(default_factory=Machine)
