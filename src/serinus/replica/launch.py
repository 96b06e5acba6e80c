"""What an engine writes for a replica before it starts, and what the replica writes back.

Plain values and their JSON files; it must never start, stop or load anything.
"""

import os
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import msgspec

from serinus.entities import Optimize, Reading

__all__ = [
    "LAUNCH_FILE",
    "Launch",
    "Phase",
    "Status",
    "read_launch",
    "read_status",
    "write_launch",
    "write_status",
]

LAUNCH_FILE = "launch.json"


@dataclass(frozen=True, slots=True)
class Launch:
    """All that a replica process is told."""

    replica_id: str
    model_digest: str
    #: The pinned model's directory; only ever read.
    model_path: str
    socket_path: str
    status_path: str
    log_path: str
    #: Most requests in one batch; 1 switches batching off.
    max_batch: int = 128
    #: Seconds that one batch should take, where smaller ones serve as many requests.
    batch_time_s: float = 0.05
    #: BLAS/OpenMP threads.
    threads: int = 1
    #: Read end of a pipe whose write end only the supervisor holds; its EOF ends the replica.
    lifeline_fd: int | None = None
    #: A file whose modification time the controller renews; empty: no lease.
    lease_path: str = ""
    lease_ttl_s: float = 24 * 3600.0
    #: Seconds that a drain may take before the process ends all the same.
    drain_s: float = 30.0
    #: How requests are read.
    intake: Reading = Reading.STRICT
    #: What the model is converted into, if its answers stay what they are.
    optimize: Optimize = Optimize.NONE
    #: Where what was found out of the model is kept for its next replica; empty: nowhere.
    forms_path: str = ""
    #: Seconds that a conversion may take; the original must still have time to load.
    convert_s: float = 60.0
    #: False: live values are not counted.
    live: bool = True
    #: Log lines are JSON.
    log_json: bool = False


class Phase(Enum):
    """How far a replica has come."""

    LOADING = "LOADING"
    READY = "READY"
    FAILED = "FAILED"
    DRAINING = "DRAINING"


@dataclass(frozen=True, slots=True)
class Status:
    """What a replica says of itself."""

    phase: Phase
    #: Why it failed, for people: the exception's own words and the place.
    message: str = ""
    batched: bool = False
    #: Why requests are (not) answered in batches.
    batching: str = ""
    pid: int = 0
    #: How the model is asked (``pyfunc``, ``direct``, ``onnx``) and why.
    form: str = ""
    form_reason: str = ""
    #: What was found out on the way to that, line by line.
    form_report: tuple[str, ...] = ()


def write_launch(directory: Path, launch: Launch) -> None:
    """Write ``launch.json`` into a replica's directory."""
    _write(directory / LAUNCH_FILE, msgspec.json.encode(launch))


def read_launch(directory: Path) -> Launch:
    """The Launch in a replica's directory; raises OSError or msgspec.DecodeError."""
    return msgspec.json.decode((directory / LAUNCH_FILE).read_bytes(), type=Launch)


def write_status(path: Path, status: Status) -> None:
    """Replace the status file in one step, so that no reader meets half of it."""
    _write(path, msgspec.json.encode(status))


def read_status(path: Path) -> Status | None:
    """The last status, or None when the replica has not written one yet."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    return msgspec.json.decode(content, type=Status)


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(content)
    temporary.replace(path)
