"""A model that does harm when a row asks for it, saved so that it loads without MLflow's wrappers.

Imported by its replica, hence it imports nothing of this package.
"""

import os
import threading
import time
from pathlib import Path
from typing import Any

import cloudpickle

__all__ = ["save"]

_MB = b"x" * (1 << 20)
_INPUTS = '[{"type": "string", "name": "how"}]'
_CARD = """
flavors:
  python_function:
    loader_module: mlflow.sklearn
    model_path: model.pkl
    predict_fn: predict
    env: {}
  sklearn:
    pickled_model: model.pkl
    serialization_format: cloudpickle
signature:
  inputs: '%s'
"""


class Wild:
    """Answers 1 after it has done what its first row says."""

    def predict(self, frame: Any) -> Any:
        """Do it."""
        getattr(self, f"_{frame['how'].iloc[0]}")()
        return [1.0] * len(frame)

    def _burn(self) -> None:
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            sum(range(10_000))

    def _print(self) -> None:
        for _ in range(256):
            os.write(1, _MB)

    def _fill(self) -> None:
        with Path("filled").open("wb", buffering=0) as file:
            for _ in range(256):
                file.write(_MB)

    def _threads(self) -> None:
        threads = [threading.Thread(target=time.sleep, args=(0.5,)) for _ in range(200)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()


def save(path: Path, model: Any = None, inputs: str = _INPUTS) -> Path:
    """Write a model, a `Wild` one unless given, into a directory that doesn't exist yet."""
    cloudpickle.register_pickle_by_value(__import__(__name__, fromlist=["*"]))
    path.mkdir(parents=True)
    (path / "MLmodel").write_text(_CARD % inputs)
    (path / "model.pkl").write_bytes(cloudpickle.dumps(Wild() if model is None else model))
    return path
