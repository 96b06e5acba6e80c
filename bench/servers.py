"""The contenders: how each is started with a model, where it answers, what it is asked.

A contender knows nothing of rounds or targets.
"""

import http.client
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bench.answers import Payload, http_request
from bench.models import BenchModel
from bench.processes import ProcessTree, ask, free_port, limited_environment

__all__ = [
    "CONTENDERS",
    "Contender",
    "bare_memory",
    "forget",
    "health_payloads",
    "payloads",
    "start",
]

_ROOT = Path(__file__).resolve().parent.parent
_BIN = Path(sys.executable).parent


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to serve the model."""

    name: str
    #: Port, model, own working folder → the command.
    command: Callable[[int, BenchModel, Path], list[str]]
    #: Models that it can serve.
    models: tuple[str, ...] = ("M0", "M1")
    #: Variables of its environment; "{pickle}" is the file of the pipeline.
    env: dict[str, str] = field(default_factory=dict)
    #: It keeps an environment or a copy of the model: the first start is made, not timed.
    caches: bool = False
    #: Name of the contender whose server answers for this one too.
    shares: str = ""
    #: Seconds that a start may take.
    deadline: float = 120.0


def _uvicorn(app: str) -> Callable[[int, BenchModel, Path], list[str]]:
    def command(port: int, model: BenchModel, home: Path) -> list[str]:
        flags = ["--http", "httptools", "--loop", "uvloop", "--no-access-log"]
        quiet = ["--log-level", "warning", "--port", str(port)]
        return [sys.executable, "-m", "uvicorn", f"bench.handwritten:{app}", *flags, *quiet]

    return command


def _mlflow(port: int, model: BenchModel, home: Path) -> list[str]:
    serve = [str(_BIN / "mlflow"), "models", "serve", "-m", str(model.path)]
    return [*serve, "--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]


def _serinus(port: int, model: BenchModel, home: Path) -> list[str]:
    serve = [str(_BIN / "serinus"), "serve", "--port", str(port), "--home", str(home / "home")]
    return [*serve, "--model", str(model.path)]


def _limit(port: int, model: BenchModel, home: Path) -> list[str]:
    return [sys.executable, str(_ROOT / "bench" / "limit.py"), str(port)]


_HANDWRITTEN = {"BENCH_MODEL": "{pickle}", "PYTHONPATH": str(_ROOT)}

CONTENDERS = {
    contender.name: contender
    for contender in (
        Contender("fastapi-sync", _uvicorn("sync_app"), ("M1",), _HANDWRITTEN),
        Contender("fastapi-async-orjson", _uvicorn("async_app"), ("M1",), _HANDWRITTEN),
        Contender("mlflow", _mlflow),
        Contender("serinus", _serinus, caches=True),
        Contender("serinus-constant", _serinus, shares="serinus"),
        # No contender: what the generator itself is measured against.
        Contender("limit", _limit),
    )
}


def _home(contender: Contender, model: BenchModel, work: Path) -> Path:
    return work / "run" / f"{contender.name}-{model.name}"


def forget(contender: Contender, model: BenchModel, work: Path) -> None:
    """Throw away what it keeps between starts."""
    shutil.rmtree(_home(contender, model, work), ignore_errors=True)


def start(contender: Contender, model: BenchModel, work: Path) -> ProcessTree:
    """Start it on a free port. The caller waits until it is ready, and stops it."""
    home = _home(contender, model, work)
    home.mkdir(parents=True, exist_ok=True)
    port = free_port()
    extra = {name: value.format(pickle=model.pickle) for name, value in contender.env.items()}
    extra["PATH"] = f"{_BIN}:{os.environ.get('PATH', '')}"
    extra["MLFLOW_TRACKING_URI"] = f"sqlite:///{work.resolve()}/mlflow.db"
    return ProcessTree(
        contender.command(port, model, home),
        env=limited_environment(extra),
        cwd=home,
        log=home / "output.log",
        port=port,
    )


@contextmanager
def serving(model: BenchModel, work: Path, settings: Mapping[str, str]) -> Iterator[ProcessTree]:
    """Serinus with that model, once it is ready; ``settings`` are in its environment."""
    work.mkdir(parents=True, exist_ok=True)
    port = free_port()
    extra = {
        "MLFLOW_TRACKING_URI": f"sqlite:///{work}/mlflow.db",
        "PATH": os.environ["PATH"],
        **settings,
    }
    tree = ProcessTree(
        _serinus(port, model, work),
        env=limited_environment(extra),
        cwd=work,
        log=work / "output.log",
        port=port,
    )
    try:
        tree.wait_ready(payloads(model)[0], 120.0)
        yield tree
    finally:
        tree.stop()


def payloads(model: BenchModel) -> list[Payload]:
    """The model's requests, each with the answer that is its own."""
    return [
        Payload(http_request("POST", "/invocations", "127.0.0.1", body), predictions=answer)
        for body, answer in zip(model.bodies, model.answers, strict=True)
    ]


def health_payloads(model: BenchModel, port: int) -> list[Payload]:
    """What a gateway answers by itself: the model's body to /health, GET where POST is refused.

    Raises RuntimeError when neither is answered with 200.
    """
    for method, body in (("POST", model.bodies[0]), ("GET", b"")):
        request = http_request(method, "/health", "127.0.0.1", body)
        try:
            status, answer = ask(port, Payload(request))
        except (OSError, http.client.HTTPException):
            continue
        if status == 200:
            return [Payload(request, body=answer)]
    raise RuntimeError("/health is answered with 200 neither by POST nor by GET")


def bare_memory(model: BenchModel, work: Path) -> float:
    """PSS in MiB of a process that loaded the model by pyfunc and predicted once."""
    with subprocess.Popen(
        [sys.executable, "-m", "bench.bare", str(model.path), str(model.example)],
        env=limited_environment({"PYTHONPATH": str(_ROOT)}),
        cwd=work,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            raise RuntimeError("the bare model process ended before it had predicted")
        info = psutil.Process(process.pid).memory_full_info()
        pss: int = getattr(info, "pss", info.uss)
        process.communicate()
    return pss / (1024 * 1024)
