"""Compares a model's requirement lines with what is installed in the server's own environment.

Reads package metadata only; it must never install anything or import what it looks at.
"""

import hashlib
import platform
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, distributions

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from serinus.engine.manifest import CONSTRAINT
from serinus.entities import EnvironmentRef, ModelRef

__all__ = ["Difference", "current_environment", "differences", "minor"]

#: What answers for what: (as logged, as installed), and how often people wonder.
_STANDS_IN = {"mlflow": "mlflow-skinny"}
_MAX_EXTRAS = 16


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that a model wants and the environment does not have just so."""

    name: str
    wanted: str
    #: The installed version; empty when there is none.
    have: str

    def __str__(self) -> str:
        return f"{self.name}: wanted {self.wanted}, have {self.have or 'nothing'}"


def differences(
    model: ModelRef, say: Callable[[str], None] = lambda line: None
) -> tuple[Difference, ...]:
    """What keeps the server's own environment from being exactly what the model asks for.

    ``say`` gets a line for each thing worth knowing although it is no difference.
    """
    found = []
    if model.python_version and minor(model.python_version) != minor(platform.python_version()):
        found.append(Difference("python", model.python_version, platform.python_version()))
    for line in model.requirements:
        found += _compare(line, say)
    found += _compare("msgspec", say)
    return tuple(found)


def current_environment() -> EnvironmentRef:
    """The server's own environment; its digest changes with whatever is installed in it."""
    names = sorted(f"{each.name}=={each.version}" for each in distributions())
    text = "\n".join(["current", sys.version, platform.platform(), sys.prefix, *names])
    return EnvironmentRef(hashlib.sha256(text.encode()).hexdigest(), sys.executable, "current")


def minor(version: str) -> str:
    """``3.11`` of ``3.11.7``."""
    return ".".join(version.split(".")[:2])


def _compare(line: str, say: Callable[[str], None]) -> Iterable[Difference]:
    constraint = line.startswith(CONSTRAINT)
    try:
        wanted = Requirement(line.removeprefix(CONSTRAINT).strip())
    except InvalidRequirement:
        return [Difference(line, "a line that only an installer can read", "")]
    if wanted.marker is not None and not wanted.marker.evaluate():
        return []
    if wanted.url:
        return [Difference(wanted.name, wanted.url, _version(wanted.name) or "")]
    if constraint and _version(wanted.name) is None:
        return []
    return _missing(wanted, say, frozenset())


def _missing(
    wanted: Requirement, say: Callable[[str], None], seen: frozenset[str]
) -> list[Difference]:
    """Differences of one requirement, with those of the extras that it asks for."""
    have = _version(wanted.name)
    stand_in = _STANDS_IN.get(canonicalize_name(wanted.name))
    if have is None and stand_in and not wanted.extras and (have := _version(stand_in)):
        say(f"{wanted} is taken as satisfied by {stand_in}=={have}")
    if have is None or not wanted.specifier.contains(have, prereleases=True):
        return [Difference(wanted.name, str(wanted.specifier) or "any version", have or "")]
    found = []
    for extra in wanted.extras:
        key = f"{canonicalize_name(wanted.name)}[{extra}]"
        if key not in seen and len(seen) < _MAX_EXTRAS:
            for each in _asked_by_extra(wanted.name, extra):
                found += _missing(each, say, seen | {key})
    return found


def _asked_by_extra(name: str, extra: str) -> list[Requirement]:
    """The requirements that an installed package has only with this extra."""
    lines = [Requirement(line) for line in distribution(name).requires or []]
    return [
        each
        for each in lines
        if each.marker is not None
        and each.marker.evaluate({"extra": extra})
        and not each.marker.evaluate({"extra": ""})
    ]


def _version(name: str) -> str | None:
    try:
        return distribution(name).version
    except PackageNotFoundError:
        return None
