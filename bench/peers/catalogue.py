"""Who is measured: how each is started with a model, where it answers, what it is asked.

A peer knows nothing of rounds or targets. Each listens on the loopback only.
"""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.answers import Payload, http_request
from bench.peers import serinus
from bench.peers.environments import ENVIRONMENTS, ROOT
from bench.peers.mlserver import BATCHED, configure
from bench.peers.models import NAMES, NEEDS, Case
from bench.peers.open_inference import columns_body, tensor_body

__all__ = ["LIMITS", "PEERS", "QUICK", "Peer", "Seat", "entrants", "payloads", "variables"]

_SERVICES = "bench.peers.services"
#: What bench/limit.py answers, and what is behind the proxies.
_CONSTANT = [1]
Body = Callable[[Case, list[Any]], bytes]


@dataclass(frozen=True, slots=True)
class Seat:
    """Where a peer runs and what it serves."""

    port: int
    case: Case
    #: Its working folder.
    home: Path
    #: Folder of its environment's commands.
    bin: Path


def _split(case: Case, row: list[Any]) -> bytes:
    return json.dumps({"dataframe_split": {"columns": case.columns, "data": [row]}}).encode()


def _rows(_: Case, row: list[Any]) -> bytes:
    return json.dumps({"rows": [row]}).encode()


@dataclass(frozen=True, slots=True)
class Peer:
    """One way to serve a model."""

    name: str
    #: What it is, for a reader who does not know its name.
    about: str
    environment: str
    command: Callable[[Seat], list[str]]
    #: "serinus", "peer", "hand" or "limit".
    kind: str = "peer"
    batches: bool = False
    models: tuple[str, ...] = NAMES
    path: str = "/invocations"
    body: Body = _split
    #: It answers as MLflow does; the others give the bare model's values.
    through_mlflow: bool = False
    constant: bool = False
    #: The answer is the list of predictions and nothing else, byte for byte.
    bare_list: bool = False
    env: dict[str, str] = field(default_factory=dict)
    #: Of each request, besides the usual ones.
    header: str = ""
    #: Called once it answers, before it is measured: (port, case, working folder).
    after: Callable[[int, Case, Path], None] | None = None
    #: Name of the peer whose server answers for this one too, GET /health.
    shares: str = ""
    #: It keeps an environment or a copy of the model: a first start is made, not timed.
    caches: bool = False
    #: Seconds that a start may take.
    deadline: float = 120.0

    def environment_for(self, model: str) -> str:
        """Name of the environment that it serves this model in."""
        if self.kind == "serinus" and model in NEEDS:
            return f"{self.environment}-{NEEDS[model]}"
        return self.environment


def _uvicorn(app: str) -> Callable[[Seat], list[str]]:
    def command(seat: Seat) -> list[str]:
        flags = ["--http", "httptools", "--loop", "uvloop", "--no-access-log"]
        quiet = ["--log-level", "warning", "--port", str(seat.port)]
        return [
            str(seat.bin / "python"),
            "-m",
            "uvicorn",
            f"bench.handwritten:{app}",
            *flags,
            *quiet,
        ]

    return command


def _mlflow(seat: Seat) -> list[str]:
    serve = [str(seat.bin / "mlflow"), "models", "serve", "-m", str(seat.case.model.path)]
    return [*serve, "--env-manager", "local", "--host", "127.0.0.1", "--port", str(seat.port)]


def _mlserver(kind: str) -> Callable[[Seat], list[str]]:
    def command(seat: Seat) -> list[str]:
        configure(kind, seat.home, seat.port, seat.case)
        return [str(seat.bin / "mlserver"), "start", str(seat.home)]

    return command


def _bentoml(seat: Seat) -> list[str]:
    serve = [str(seat.bin / "bentoml"), "serve", f"{_SERVICES}.bentoml_service:Served"]
    return [*serve, "--host", "127.0.0.1", "--port", str(seat.port)]


def _service(module: str, kind: str) -> Callable[[Seat], list[str]]:
    def command(seat: Seat) -> list[str]:
        return [str(seat.bin / "python"), "-m", f"{_SERVICES}.{module}", str(seat.port), kind]

    return command


def _limit(seat: Seat) -> list[str]:
    return [sys.executable, str(ROOT / "bench" / "limit.py"), str(seat.port)]


def _proxy(name: str) -> Callable[[Seat], list[str]]:
    def command(seat: Seat) -> list[str]:
        start = [sys.executable, "-m", "bench.peers.proxied", name, str(seat.port)]
        return [*start, str(seat.home), str(ENVIRONMENTS[name].bin)]

    return command


_FLOATS = ("M0", "M1", "M3", "M4")
_SKLEARN = ("M1", "M2")


def _tensor(case: Case, row: list[Any]) -> bytes:
    """The leanest body that the sklearn runtime takes: one tensor where all is float."""
    return tensor_body(row) if case.numbers else columns_body(case.columns, row)


#: Its runtime for MLflow can't encode M3's answer, a frame whose column has a number for a name.
_NAMED = ("M0", "M1", "M2", "M4")
_INFER = "/v2/models/served/infer"
_MLSERVER: dict[str, Any] = {"environment": "mlserver", "path": _INFER}

PEERS = {
    peer.name: peer
    for peer in (
        Peer("serinus", "one gateway, one replica, as it comes", "serinus", serinus.command,
             kind="serinus", batches=True, through_mlflow=True, caches=True),
        Peer("serinus-split", "two versions of the model, 90/10", "serinus", serinus.command,
             kind="serinus", batches=True, through_mlflow=True, caches=True, models=("M0", "M1"),
             after=serinus.split),
        Peer("serinus-watched", "the split, with a contract: live values counted by caller",
             "serinus", serinus.command, kind="serinus", batches=True, through_mlflow=True,
             caches=True, models=("M1",), after=serinus.watch, header="X-Caller: bench"),
        Peer("serinus-onnx", "`optimize: onnx`", "serinus", serinus.command,
             kind="serinus", batches=True, through_mlflow=True, caches=True, models=_SKLEARN,
             after=serinus.optimise),
        Peer("fastapi-sync", "hand-written: FastAPI + uvicorn, sync handler", "fastapi",
             _uvicorn("sync_app"), kind="hand"),
        Peer("fastapi-async", "hand-written: FastAPI + uvicorn, async handler, orjson", "fastapi",
             _uvicorn("async_app"), kind="hand"),
        Peer("mlflow", "`mlflow models serve`", "mlflow", _mlflow, through_mlflow=True),
        Peer("mlserver-mlflow", "MLServer, MLflow runtime (can't encode M3's answer)",
             **_MLSERVER, models=_NAMED, command=_mlserver("mlflow"),
             body=lambda case, row: columns_body(case.columns, row)),
        Peer("mlserver-mlflow-batched", "MLServer, MLflow runtime, adaptive batching", **_MLSERVER,
             models=_NAMED,
             command=_mlserver("mlflow" + BATCHED), batches=True,
             body=lambda case, row: columns_body(case.columns, row)),
        Peer("mlserver-sklearn", "MLServer, scikit-learn runtime", **_MLSERVER, body=_tensor,
             command=_mlserver("sklearn"), models=_SKLEARN),
        Peer("mlserver-sklearn-batched", "MLServer, scikit-learn runtime in its own process, "
             "adaptive batching", **_MLSERVER, body=_tensor, models=_SKLEARN, batches=True,
             command=_mlserver("sklearn" + BATCHED)),
        Peer("bentoml", "BentoML", "bentoml", _bentoml),
        Peer("bentoml-batched", "BentoML, batchable API", "bentoml", _bentoml, batches=True,
             path="/batched", body=_rows, bare_list=True),
        Peer("ray", "Ray Serve", "ray", _service("ray_service", "plain")),
        Peer("ray-batched", "Ray Serve, `@serve.batch`", "ray",
             _service("ray_service", "batched"), batches=True),
        Peer("litserve", "LitServe", "litserve", _service("litserve_service", "plain")),
        Peer("litserve-batched", "LitServe, batching", "litserve",
             _service("litserve_service", "batched"), batches=True),
    )
}  # fmt: skip

LIMITS = {
    peer.name: peer
    for peer in (
        Peer("gateway-constant", "Serinus's gateway answering by itself", "serinus",
             serinus.command, kind="limit", shares="serinus", models=("M0", "M1")),
        Peer("constant", "a socket that answers a constant: the load generator's own ceiling", "",
             _limit, kind="limit", models=("M0",), constant=True),
        Peer("haproxy-split", "HAProxy, 90/10 over two constant back ends", "haproxy",
             _proxy("haproxy"), kind="limit", models=("M0",), constant=True),
        Peer("envoy-split", "Envoy, 90/10 over two constant back ends", "envoy",
             _proxy("envoy"), kind="limit", models=("M0",), constant=True),
    )
}  # fmt: skip

#: The fewest that say where Serinus stands.
QUICK = (
    "serinus", "fastapi-sync", "fastapi-async", "mlflow", "mlserver-sklearn-batched",
    "litserve-batched",
)  # fmt: skip


def entrants(model: str, only: tuple[str, ...] = ()) -> list[Peer]:
    """Those that can serve the model, in the catalogue's order; `only` names a part of them."""
    return [
        peer
        for peer in (PEERS | LIMITS).values()
        if model in peer.models and (not only or peer.name in only)
    ]


def payloads(peer: Peer, case: Case) -> list[Payload]:
    """A request for each row in the peer's own form, with the answer that is its own."""
    answers = case.answers if peer.through_mlflow else case.plain
    return [
        _payload(peer, peer.body(case, row), _CONSTANT if peer.constant else answer)
        for row, answer in zip(case.rows, answers, strict=True)
    ]


def _payload(peer: Peer, body: bytes, answer: list[Any]) -> Payload:
    request = http_request("POST", peer.path, "127.0.0.1", body)
    if peer.header:
        request = request.replace(b"\r\n", f"\r\n{peer.header}\r\n".encode(), 1)
    if peer.bare_list:
        return Payload(request, body=json.dumps(answer).encode())
    return Payload(request, predictions=answer)


def variables(seat: Seat) -> dict[str, str]:
    """What every peer's process finds in its environment."""
    needed = NEEDS.get(seat.case.name)
    besides = [str(ENVIRONMENTS[needed].packages_folder)] if needed else []
    return {
        "BENCH_MODEL": str(seat.case.bare),
        "BENCH_COLUMNS": json.dumps(seat.case.columns),
        "PYTHONPATH": os.pathsep.join([str(ROOT), *besides]),
        "PATH": f"{seat.bin}:/usr/local/bin:/usr/bin:/bin:/usr/sbin",
        # Nobody is told of anything, by any of the peers.
        "BENTOML_DO_NOT_TRACK": "True",
        "DO_NOT_TRACK": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
