"""Where things lie below the home directory, and the short directory for unix sockets."""

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Layout"]

# A unix socket's path must fit into 104 bytes on every platform; the rest is for its file name.
_LONGEST_RUN = 40


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths of one home."""

    home: Path

    @property
    def lock(self) -> Path:
        """Locked by the server that uses this home; holds its pid."""
        return self.home / "serinus.pid"

    @property
    def routes(self) -> Path:
        """The RouteTable that a gateway starts from while the controller is away."""
        return self.home / "routes.json"

    @property
    def database(self) -> Path:
        """SQLite file of the metadata, unless a store URL is set."""
        return self.home / "serinus.db"

    @property
    def logs(self) -> Path:
        """What processes print."""
        return self.home / "logs"

    @property
    def run(self) -> Path:
        """Directory of unix sockets: below the home where that is short enough, else in /tmp."""
        inside = self.home / "run"
        if len(os.fsencode(inside)) <= _LONGEST_RUN:
            return inside
        digest = hashlib.sha256(os.fsencode(self.home)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"serinus-{os.getuid()}-{digest}"

    @property
    def controller_socket(self) -> Path:
        """The control API, for gateways to forward to."""
        return self.run / "controller.sock"

    @property
    def links_socket(self) -> Path:
        """RouteTables and acknowledgements."""
        return self.run / "links.sock"

    @property
    def reload(self) -> Path:
        """How far the last replacement of the gateways is."""
        return self.run / "reload.json"

    def write_reload(self, content: bytes) -> None:
        """Replace that file whole."""
        temporary = self.reload.with_suffix(".new")
        temporary.write_bytes(content)
        temporary.replace(self.reload)

    def make(self) -> None:
        """Create the directories, closed to other users; raises OSError naming the path."""
        # The database holds the environment variables of models.
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.logs.mkdir(exist_ok=True)
        self.run.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = self.run.stat()
        if owner.st_uid != os.getuid():
            raise PermissionError(f"{self.run} belongs to another user; remove it or set TMPDIR")
        self.run.chmod(0o700)
