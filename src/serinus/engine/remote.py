"""Served entities that are another scoring endpoint: which URLs may be, and how one is kept.

A URL is kept as a model directory whose one flavor names it, so that it is pinned, listed and
forgotten like every model. Nothing here opens a connection.
"""

import ipaddress
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from serinus.errors import InvalidParameterValue

__all__ = ["RemoteOptions", "check_remote", "is_remote", "remote_url", "write_remote"]

_FLAVOR = "serinus_remote"
_SCHEMES = ("http", "https")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class RemoteOptions:
    """How a remote endpoint is asked; each is an environment variable of the served entity."""

    #: ``REMOTE_DEADLINE``: seconds until an answer is given up; the server's deadline holds too.
    deadline_s: float = 30.0
    #: ``REMOTE_RETRIES``: tries after one that could not connect. What was sent is never resent.
    retries: int = 1
    #: ``REMOTE_TOKEN``: sent as a bearer token.
    token: str = ""
    #: ``REMOTE_CA_FILE``: the certificates to trust instead of the public ones.
    ca_file: str = ""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "RemoteOptions":
        """Read the variables; raises InvalidParameterValue that names the bad one."""
        return cls(
            deadline_s=_number(environ, "REMOTE_DEADLINE", 30.0, (0.001, 3600.0)),
            retries=int(_number(environ, "REMOTE_RETRIES", 1, (0, 5))),
            token=environ.get("REMOTE_TOKEN", ""),
            ca_file=environ.get("REMOTE_CA_FILE", ""),
        )


def is_remote(uri: str) -> bool:
    """True for an ``http:`` or ``https:`` URL."""
    return uri.partition(":")[0].lower() in _SCHEMES


def check_remote(url: str, allowed: Collection[str]) -> str:
    """The URL itself; ``allowed`` holds ``host`` or ``host:port``.

    Raises InvalidParameterValue for what is no plain URL, and for a host that is not in the list.
    """
    shown = url[:200]
    split = urlsplit(url)
    if split.username is not None or split.password is not None:
        raise InvalidParameterValue(
            "A remote URL must not carry a password: give the token as REMOTE_TOKEN in "
            "environment_vars."
        )
    if any(ord(each) <= 32 or ord(each) > 126 for each in url) or split.fragment:
        raise InvalidParameterValue(
            f"The remote URL {shown!r} has a character that is not allowed."
        )
    host = (split.hostname or "").lower()
    try:
        port = split.port or _PORTS[split.scheme.lower()]
    except (ValueError, KeyError):
        raise InvalidParameterValue(f"The remote URL {shown!r} has no port that exists.") from None
    if not _HOST.fullmatch(host) and not _is_address(host):
        raise InvalidParameterValue(f"The remote URL {shown!r} names no host.")
    wanted = {each.lower() for each in allowed}
    if host not in wanted and f"{host}:{port}" not in wanted:
        raise InvalidParameterValue(
            f"{host}:{port} is not among the hosts that this server may call; whoever runs it can "
            f"add it: SERINUS_REMOTE_HOSTS={host}:{port}."
        )
    return url


def write_remote(url: str, directory: Path) -> Path:
    """Write the model directory that stands for this URL."""
    content = yaml.safe_dump({"flavors": {_FLAVOR: {"url": url}}})
    (directory / "MLmodel").write_text(content, encoding="utf-8")
    return directory


def remote_url(directory: Path) -> str | None:
    """The URL that a model directory stands for; None when it holds a model."""
    path = directory / "MLmodel"
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    if _FLAVOR not in text:
        return None
    content = yaml.safe_load(text)
    flavors = content.get("flavors") if isinstance(content, dict) else None
    flavor = flavors.get(_FLAVOR) if isinstance(flavors, dict) else None
    url = flavor.get("url") if isinstance(flavor, dict) else None
    # A model that was logged with our flavor beside its own must not make the server call out.
    return url if isinstance(url, str) and isinstance(flavors, dict) and len(flavors) == 1 else None


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _number(
    environ: Mapping[str, str], name: str, default: float, bounds: tuple[float, float]
) -> float:
    text = environ.get(name, "")
    if not text:
        return default
    lowest, highest = bounds
    try:
        value = float(text.removesuffix("s"))
    except ValueError:
        value = float("nan")
    if not lowest <= value <= highest:
        raise InvalidParameterValue(f"{name} is {text[:40]!r}; give {lowest:g} to {highest:g}.")
    return value
