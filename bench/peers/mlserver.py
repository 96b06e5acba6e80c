"""MLServer's two settings files, for either runtime, with and without adaptive batching."""

import json
from pathlib import Path
from typing import Any

from bench.peers.models import Case
from bench.peers.services.served import BATCH, WINDOW_S
from bench.processes import free_port

__all__ = ["BATCHED", "configure"]

BATCHED = "-batched"
_RUNTIMES = {"mlflow": "mlserver_mlflow.MLflowRuntime", "sklearn": "mlserver_sklearn.SKLearnModel"}


def configure(kind: str, home: Path, port: int, case: Case) -> None:
    """Write what `mlserver start` reads."""
    runtime, batched = kind.removesuffix(BATCHED), kind.endswith(BATCHED)
    settings: dict[str, Any] = {
        "host": "127.0.0.1",
        "http_port": port,
        "grpc_port": free_port(),
        "metrics_port": free_port(),
        "debug": False,
    }
    if runtime == "sklearn" and batched:
        # Measured best: batching in the server's own process, without a worker to send it to.
        settings["parallel_workers"] = 0
    uri = case.model.path if runtime == "mlflow" else case.bare
    model: dict[str, Any] = {
        "name": "served",
        "implementation": _RUNTIMES[runtime],
        "parameters": {"uri": str(uri)},
    }
    if batched:
        model |= {"max_batch_size": BATCH, "max_batch_time": WINDOW_S}
    home.mkdir(parents=True, exist_ok=True)
    (home / "settings.json").write_text(json.dumps(settings))
    (home / "model-settings.json").write_text(json.dumps(model))
