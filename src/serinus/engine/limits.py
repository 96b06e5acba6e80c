"""What one replica may take of its machine. Plain values; who holds it to them is `keeper`."""

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Over one of them, the replica is ended or its call fails; its neighbours go on."""

    #: Bytes of memory of its own; 0: as much as there is.
    memory_bytes: int = 0
    #: Threads of all its processes.
    tasks: int = 4096
    #: Files that each of its processes may have open.
    files: int = 65_536
    #: Bytes of one file that it writes.
    file_bytes: int = 64 << 30
