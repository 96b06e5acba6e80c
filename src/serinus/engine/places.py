"""Where replicas of one machine have their files: directories, sockets, the package they run."""

import hashlib
import os
import shutil
import threading
from pathlib import Path

import serinus

__all__ = ["Places"]

#: sun_path holds 108 bytes on Linux and 104 on macOS, the final NUL included.
_MAX_SOCKET_PATH = 99


class Places:
    """``home`` is the server's; ``sockets`` is a directory with a short path. Makes both private.

    Raises ValueError when the path for sockets is too long.
    """

    def __init__(self, home: Path, sockets: Path) -> None:
        self.home = home.absolute()
        self.sockets = sockets.absolute()
        #: One directory for each replica.
        self.replicas = self.home / "run" / "replicas"
        longest = self.sockets / f"{'0' * 20}.sock"
        if len(os.fsencode(longest)) > _MAX_SOCKET_PATH:
            raise ValueError(
                f"The directory for sockets, {self.sockets}, is too long: the paths of unix "
                f"sockets have at most {_MAX_SOCKET_PATH} bytes; choose a shorter one."
            )
        for private in (self.home / "run", self.replicas, self.sockets):
            private.mkdir(parents=True, exist_ok=True, mode=0o700)
            private.chmod(0o700)
        for leftover in self.replicas.glob(".gone-*"):
            shutil.rmtree(leftover, ignore_errors=True)

    def socket(self, replica_id: str) -> Path:
        """A short path that no two ids share, and that is readable where there is room."""
        path = self.sockets / f"{replica_id}.sock"
        if len(os.fsencode(path)) > _MAX_SOCKET_PATH:
            path = self.sockets / f"{hashlib.sha256(replica_id.encode()).hexdigest()[:20]}.sock"
        return path

    def runtime(self) -> Path:
        """A directory with nothing but this package in it, for the PYTHONPATH of replicas."""
        runtime = self.home / "run" / "runtime"
        link, package = runtime / "serinus", Path(serinus.__file__).parent
        if not link.is_symlink() or link.readlink() != package:
            runtime.mkdir(exist_ok=True, mode=0o700)
            fresh = runtime / f".serinus-{os.getpid()}-{threading.get_ident()}"
            fresh.symlink_to(package)
            fresh.replace(link)
        return runtime
