"""``serinus doctor``: looks at this machine and says how to mend what is wrong. Changes nothing."""

import os
import resource
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx
from rich.markup import escape
from rich.table import Table

from serinus.cli.output import Exit, Output, show_json, stdout
from serinus.cli.scene import Finding, Scene
from serinus.cli.state_checks import owner, store, tracking
from serinus.client.wire import far
from serinus.gateway.hosts import is_loopback
from serinus.server.layout import Layout
from serinus.settings import Settings

__all__ = ["check_all", "examine"]

#: The kernel's limit for a unix socket's path, without the closing zero byte.
_SOCKET_PATH = 103 if sys.platform == "darwin" else 107
#: The longest that a socket's name below its directory gets: ``/<replica id>.sock``.
_SOCKET_NAME = 44
_OPEN_FILES = 4096
_FREE_BYTES = 2 * 2**30
#: No right clock shows an earlier moment than this release.
_RELEASED = datetime(2026, 11, 1, tzinfo=UTC)
_SKEW_S = 5.0
#: Kinds of filesystems of other machines.
_REMOTE = frozenset(("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "lustre", "ceph", "afs"))


def examine(settings: Settings, server: str, token: str | None, output: Output) -> Exit:
    """Run every check, show them, and give the exit code."""
    # The clock is what is being checked here, so this command reads it itself.
    at = datetime.now(UTC)  # noqa: TID251
    answer, status = _ask(server, token)
    findings = check_all(Scene(settings, server, at, answer, status))
    good = all(finding.ok for finding in findings)
    if output is Output.JSON:
        show_json({"ok": good, "checks": [asdict(finding) for finding in findings]})
    else:
        table = Table("", "check", "found", "mend")
        for each in findings:
            table.add_row(
                "[green]✓[/]" if each.ok else "[red]✗[/]",
                each.name,
                escape(each.detail),
                escape(each.mend),
            )
        stdout().print(table)
    return Exit.GOOD if good else Exit.FINDING


def check_all(scene: Scene) -> list[Finding]:
    """The findings of every check, in the order in which they are worth reading."""
    return [check(scene) for check in _CHECKS]


def _ask(server: str, token: str | None) -> tuple[Mapping[str, str] | None, int]:
    """Headers of the answer to a health question, and the status of one that needs a token."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    try:
        with httpx.Client(
            base_url=server.rstrip("/"), headers=headers, timeout=2.0, trust_env=far(server)
        ) as client:
            answer = client.get("/health").headers
            return answer, client.get("/api/2.0/serving-endpoints").status_code
    except (httpx.HTTPError, httpx.InvalidURL):
        return None, 0


def _python(scene: Scene) -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info >= (3, 11)
    return Finding("python", good, found, "" if good else "install Python 3.11 or newer")


def _uv(scene: Scene) -> Finding:
    mend = "pip install --force-reinstall uv; it builds the environments of models"
    found = scene.machine.uv()
    if found is None:
        return Finding("uv", False, "not found", mend)
    try:
        done = subprocess.run([found, "--version"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding("uv", False, f"{found} can't be run: {error}", mend)
    if done.returncode != 0:
        return Finding("uv", False, f"{found} ends with {done.returncode}", mend)
    return Finding("uv", True, f"{found}, {done.stdout.strip()}")


def _home(scene: Scene) -> Finding:
    home = scene.settings.home
    there = next(each for each in (home, *home.parents) if each.exists())
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        mend = f"make {there} writable, or choose another --home"
        return Finding("home", False, f"{home} can't be written", mend)
    return Finding("home", True, f"{home}" + ("" if there == home else " (will be created)"))


def _filesystem(scene: Scene) -> Finding:
    """Whether the home is on a disk of this machine."""
    home = scene.settings.home.absolute()
    kind = scene.machine.filesystem(home)
    if kind in _REMOTE or kind.startswith("fuse."):
        mend = "choose a --home on a disk of this machine, or SERINUS_STORE=postgresql+psycopg://…"
        return Finding(
            "filesystem", False, f"{home} is on {kind}: locks and sockets fail there", mend
        )
    return Finding("filesystem", True, kind or "not known")


def _access(scene: Scene) -> Finding:
    """Whether the server would start with these settings, and would let this command in."""
    settings = scene.settings
    if scene.status == 401:
        mend = "on the server's own machine: serinus token create NAME --can 'view:*'"
        return Finding("access", False, "the server asks for a token (--token)", mend)
    if is_loopback(settings.host):
        return Finding("access", True, f"{settings.host} is reached from this machine alone")
    open_to = f"{settings.host} is reached from other machines"
    if settings.auth == "open":
        mend = "SERINUS_AUTH=required and serinus token create, or --host 127.0.0.1"
        return Finding("access", False, f"{open_to}, and nobody is asked for a token", mend)
    if not (settings.tls_cert or settings.behind_tls_proxy):
        mend = "SERINUS_TLS_CERT and SERINUS_TLS_KEY, or a proxy and --behind-tls-proxy"
        return Finding("access", False, f"{open_to}, and tokens travel in the clear", mend)
    return Finding("access", True, f"{open_to}, with tokens and TLS")


def _disk(scene: Scene) -> Finding:
    home = scene.settings.home
    there = next(each for each in (home, *home.parents) if each.exists())
    free = scene.machine.free(there)
    good = free >= _FREE_BYTES
    mend = "" if good else "free some space: models and their environments take gigabytes"
    return Finding("disk", good, f"{free / 2**30:.1f} GiB free at {there}", mend)


def _port(scene: Scene) -> Finding:
    if scene.answer is not None:
        return Finding("port", True, f"a server answers at {scene.server}")
    host, port = scene.settings.host, scene.settings.port
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as probe:
            # As the server binds: a port in TIME_WAIT is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        mend = "choose another --port (0 takes a free one), or end what listens there"
        return Finding("port", False, f"{host}:{port} can't be used: {error.strerror}", mend)
    return Finding("port", True, f"{host}:{port} is free")


def _open_files(scene: Scene) -> Finding:
    limit = scene.machine.open_files()
    good = limit == resource.RLIM_INFINITY or limit >= _OPEN_FILES
    mend = "" if good else f"ulimit -Hn {_OPEN_FILES}, or LimitNOFILE= in the systemd unit"
    return Finding("open files", good, f"limit {limit}", mend)


def _socket_path(scene: Scene) -> Finding:
    length = len(os.fsencode(Layout(scene.settings.home).run)) + _SOCKET_NAME
    good = length <= _SOCKET_PATH
    mend = "" if good else "set TMPDIR to a shorter path"
    return Finding("socket path", good, f"{length} of {_SOCKET_PATH} bytes", mend)


def _clock(scene: Scene) -> Finding:
    mend = "set the clock (NTP); deadlines, journals and delayed labels rely on it"
    if scene.at < _RELEASED:
        return Finding("clock", False, f"it is not {scene.at:%Y-%m-%d}", mend)
    date = (scene.answer or {}).get("date")
    if date:
        skew = abs((parsedate_to_datetime(date) - scene.at).total_seconds())
        if skew > _SKEW_S:
            return Finding("clock", False, f"{skew:.0f} s apart from the server's", mend)
    return Finding("clock", True, f"{scene.at:%Y-%m-%d %H:%M} UTC")


_CHECKS: tuple[Callable[[Scene], Finding], ...] = (
    _python,
    _uv,
    _home,
    _filesystem,
    _disk,
    owner,
    _port,
    store,
    tracking,
    _access,
    _open_files,
    _socket_path,
    _clock,
)
