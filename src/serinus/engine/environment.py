"""Chooses or builds the Python environment of a model: the server's own, or one made by uv.

Built ones live in ``envs/<digest>/``, appear only when complete and are shared. It installs what
the model asks for and msgspec, and must never change the server's own environment.
"""

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from signal import SIGKILL

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from serinus.engine.installed import Difference, current_environment, differences, minor
from serinus.engine.manifest import CONSTRAINT
from serinus.entities import EnvironmentRef, ModelRef

__all__ = ["EnvironmentBuilder", "EnvironmentFailed", "Policy"]

#: What a replica needs besides the model's own requirements. It has no dependencies.
_REPLICA_NEEDS = "msgspec>=0.20"
_OLDEST_PYTHON = (3, 10)

_PASSED_ON = re.compile(
    r"(PATH|HOME|USER|LOGNAME|LANG|LANGUAGE|LC_\w+|TZ|TMPDIR|XDG_\w+_HOME|NETRC|CC|CXX|CFLAGS"
    r"|UV_\w+|PIP_\w+|SSL_\w+|\w+_CA_BUNDLE|(HTTPS?|ALL|NO)_PROXY|(https?|all|no)_proxy)"
)
#: Settings of uv that would aim it at another environment than the one being built.
_NOT_PASSED = re.compile(
    r"UV_(PYTHON|PROJECT\w*|SYSTEM_PYTHON|TARGET|PREFIX|WORKING_DIR\w*|VENV_\w+|CONSTRAINT|OVERRIDE"
    r"|BUILD_CONSTRAINT|BREAK_SYSTEM_PACKAGES|REQUIRE_HASHES|NO_DEPS)"
)

_ADVICE = "or serve the model in the server's own environment (environment policy 'current')"


class Policy(Enum):
    """Which environments a model may get."""

    AUTO = "auto"  # the server's own where it fits exactly, else a built one
    CURRENT = "current"  # always the server's own; differences are only said
    BUILD = "build"  # always a built one


class EnvironmentFailed(Exception):
    """There is no environment for this model; the message is one sentence for people."""


@dataclass(frozen=True, slots=True)
class _Recipe:
    """All that decides what is in a built environment."""

    requirements: tuple[str, ...]
    constraints: tuple[str, ...]
    python: str

    @property
    def digest(self) -> str:
        parts = [*self.requirements, *(CONSTRAINT + each for each in self.constraints)]
        parts += [f"python {self.python}", f"{sys.platform} {platform.machine()}", _REPLICA_NEEDS]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


class EnvironmentBuilder:
    """Makes environments under ``home/envs``. Safe for any number of threads and processes.

    ``environ`` is the server's own environment; only what package indexes, TLS and proxies need is
    handed to uv. ``timeout_s`` bounds one run of uv.
    """

    def __init__(
        self,
        home: Path,
        uv: str,
        *,
        environ: Mapping[str, str],
        policy: Policy = Policy.AUTO,
        timeout_s: float = 1800.0,
    ) -> None:
        self._root = home / "envs"
        self._uv = uv
        self._policy = policy
        self._timeout_s = timeout_s
        self._environ = {
            name: value
            for name, value in environ.items()
            if _PASSED_ON.fullmatch(name) and not _NOT_PASSED.fullmatch(name)
        }
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)

    def sweep(self) -> int:
        """Remove what builds that crashed left, and say how many. For the start of a server."""
        found = 0
        for staging in self._root.glob(".*.building"):
            digest = staging.name.removeprefix(".").removesuffix(".building")
            with (self._root / f"{digest}.lock").open("a") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:  # it is being built
                    continue
                shutil.rmtree(staging, ignore_errors=True)
                found += 1
        return found

    def diff(self, model: ModelRef) -> tuple[Difference, ...]:
        """What the server's own environment has otherwise than the model asks for."""
        return differences(model)

    def prepare(
        self, model: ModelRef, directory: Path, say: Callable[[str], None]
    ) -> EnvironmentRef:
        """The environment for a model; builds it when needed, which may take minutes.

        ``directory`` is the model's own (wheels logged with it are found there). ``say`` gets each
        line of the log. Raises EnvironmentFailed.
        """
        if not model.requirements:
            say("the model names no requirements: it gets the server's own environment")
            return current_environment()
        found = differences(model, say)
        if not found and self._policy is not Policy.BUILD:
            say("the server's own environment has exactly what the model asks for")
            return current_environment()
        for each in found:
            say(f"the server's own environment differs: {each}")
        if self._policy is Policy.CURRENT:
            say("the server's own environment is used all the same, as asked")
            return current_environment()
        return self._built(_recipe(model, directory), say)

    def _built(self, recipe: _Recipe, say: Callable[[str], None]) -> EnvironmentRef:
        target = self._root / recipe.digest
        ref = EnvironmentRef(recipe.digest, str(target / "bin" / "python"), "built")
        try:
            with (self._root / f"{recipe.digest}.lock").open("a") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    say("somebody else is building this environment; waiting for it")
                    fcntl.flock(lock, fcntl.LOCK_EX)
                if Path(ref.python).exists():  # follows the link: false when that Python has gone
                    say(f"environment {recipe.digest[:12]} is there already")
                    return ref
                self._build(recipe, target, say)
        except OSError as error:
            raise EnvironmentFailed(
                f"The environment can't be written to {self._root} ({error.strerror or error}); "
                "make room there, or choose another home."
            ) from error
        say(f"environment {recipe.digest[:12]} is ready")
        return ref

    def _build(self, recipe: _Recipe, target: Path, say: Callable[[str], None]) -> None:
        """Build beside, then rename (a relocatable environment survives it). Needs the lock."""
        staging = self._root / f".{recipe.digest}.building"
        shutil.rmtree(staging, ignore_errors=True)
        shutil.rmtree(target, ignore_errors=True)
        staging.mkdir(mode=0o700)
        try:
            files = []
            for flag, lines in (("-r", recipe.requirements), ("-c", recipe.constraints)):
                path = staging / f"lines{flag}.txt"
                path.write_text("\n".join(lines) + "\n", encoding="utf-8")
                files += [flag, str(path)] if lines else []
            made = staging / "env"
            python = recipe.python
            if python == minor(platform.python_version()):
                python = str(Path(sys.base_prefix) / "bin" / f"python{python}")
                python = python if Path(python).exists() else recipe.python
            venv = ["venv", "--relocatable", "--no-project", "--python", python, str(made)]
            self._run(venv, recipe, say)
            install = ["pip", "install", "--python", str(made / "bin" / "python")]
            self._run([*install, *files, _REPLICA_NEEDS], recipe, say)
            made.rename(target)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _run(self, arguments: list[str], recipe: _Recipe, say: Callable[[str], None]) -> None:
        say(f"uv {' '.join(arguments[:2])} …")
        lines: list[str] = []
        try:
            child = subprocess.Popen(
                [self._uv, "--no-progress", "--color", "never", *arguments],
                env=self._environ,
                cwd="/",  # no project's settings are picked up from where the server happens to run
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                text=True,
                errors="replace",
            )
        except OSError as error:
            raise EnvironmentFailed(
                f"uv can't be started ({self._uv}: {error.strerror}); install uv, {_ADVICE}."
            ) from error
        late = threading.Timer(self._timeout_s, os.killpg, (child.pid, SIGKILL))
        late.daemon = True
        late.start()
        with child:
            for line in child.stdout or ():
                lines.append(line.rstrip())
                say(lines[-1])
        late.cancel()
        if child.returncode == -SIGKILL:
            raise EnvironmentFailed(
                f"Building the environment was ended after at most {self._timeout_s:g} s; look at "
                "the log for what it was doing, then try again."
            )
        if child.returncode:
            raise EnvironmentFailed(_why(lines, recipe, self._root))


def _recipe(model: ModelRef, directory: Path) -> _Recipe:
    python = minor(model.python_version or platform.python_version())
    if not re.fullmatch(r"\d+\.\d+", python):
        raise EnvironmentFailed(
            f"The model's Python version {model.python_version!r} is no version."
        )
    if tuple(map(int, python.split("."))) < _OLDEST_PYTHON:
        raise EnvironmentFailed(
            f"The model was logged with Python {python}, but a replica needs 3.10 or newer; log it "
            f"again, {_ADVICE}."
        )
    lines = [each for each in model.requirements if not each.startswith(CONSTRAINT)]
    limits = [e.removeprefix(CONSTRAINT) for e in model.requirements if e.startswith(CONSTRAINT)]
    return _Recipe(
        tuple(sorted({_normal(each, directory) for each in lines})),
        tuple(sorted({_normal(each, directory) for each in limits})),
        python,
    )


def _normal(line: str, directory: Path) -> str:
    """One spelling for lines that mean the same; files logged with the model become absolute."""
    try:
        wanted = Requirement(line)
    except InvalidRequirement:
        path = (directory / line).resolve()
        inside = path.is_relative_to(directory.resolve()) and path.exists()
        return str(path) if inside else line
    wanted.name = canonicalize_name(wanted.name)
    return str(wanted)


def _why(lines: list[str], recipe: _Recipe, root: Path) -> str:
    """One sentence for the resolver's words, which stay in the log."""
    text = "\n".join(lines)
    causes = [e.split(":", 1)[1].strip() for e in lines if re.match(r"\s*(error|cause):", e)]
    said = " ".join((causes[-1] if causes else lines[-1] if lines else "no reason given").split())
    if "No space left on device" in text or "Disk quota exceeded" in text:
        return (
            f"There is no room for the environment in {root} (or in uv's cache); make room there."
        )
    if re.search(r"python-build-standalone|No interpreter found|managed Python|cpython-", text):
        return (
            f"Python {recipe.python}, which the model was logged with, is not on this machine and "
            f"can't be had ({said}); install it, {_ADVICE}."
        )
    if re.search(r"No solution found|not found in the package registry", text):
        return (
            f"The model's requirements can't be installed together: {said.rstrip('.')}; correct "
            f"its requirements.txt and log it again, {_ADVICE}."
        )
    if re.search(r"dns error|error sending request|client error|[Nn]etwork|tls|timed out", text):
        where = causes[0] if causes and causes[0] != said else ""
        said = f"{where}: {said}" if where else said
        return (
            f"The package index can't be reached ({said}); look at the network and at UV_INDEX_URL "
            f"or the proxy settings, {_ADVICE}."
        )
    if "Failed to build" in text or "build backend" in text:
        return f"A requirement had to be built from source and that failed: {said.rstrip('.')}."
    return f"uv could not make the environment: {said.rstrip('.')}; its own words are in the log."
