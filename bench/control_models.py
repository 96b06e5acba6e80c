"""Models that cost no processor: a batch takes a fixed time and some a row, times noise.

So one small machine can load several pools as it likes, and a version is slower by exactly what it
says. Made once into the working folder.
"""

import os
import random
import shutil
import time
from pathlib import Path

__all__ = ["CAPACITY", "FIXED_S", "PER_ROW_S", "body", "steady"]

FIXED_S, PER_ROW_S = 0.016, 0.001
#: Spread (of the log) of a batch's time.
_NOISE = 0.25
_MAX_BATCH = 128
#: Rows per second of one replica whose batches are full.
CAPACITY = _MAX_BATCH / (FIXED_S + PER_ROW_S * _MAX_BATCH)


def steady(name: str, slower: float, work: Path) -> Path:
    """The version of that name, ``slower`` times as slow as the plain one."""
    path = work.resolve() / "models" / name
    done = path / ".whole"
    if not done.exists():
        shutil.rmtree(path, ignore_errors=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        # The model must not take this repository's own lock file for its environment.
        os.environ["MLFLOW_UV_AUTO_DETECT"] = "false"
        os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{work.resolve()}/mlflow.db")
        _save(path, slower)
        done.touch()
    return path


def body() -> bytes:
    """A request of one row, answered with 1.0 by every version."""
    return b'{"dataframe_split": {"columns": ["x", "y"], "data": [[1.5, 2.5]]}}'


def _save(path: Path, slower: float) -> None:
    import cloudpickle
    import mlflow.pyfunc
    import numpy as np
    import pandas as pd
    from mlflow.models import infer_signature

    # Travels inside the model: a replica need not find this module.
    cloudpickle.register_pickle_by_value(__import__(__name__, fromlist=["*"]))
    fixed_s, per_row_s, noise = FIXED_S * slower, PER_ROW_S * slower, _NOISE

    class Steady(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        # No type hints: MLflow would read a schema out of them.
        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
            rows = len(model_input)
            time.sleep((fixed_s + per_row_s * rows) * random.lognormvariate(0.0, noise))
            return np.ones(rows)

    rows = pd.DataFrame({"x": [1.5, 4.0, 7.25], "y": [2.5, 5.0, 1.0]})
    mlflow.pyfunc.save_model(
        str(path),
        python_model=Steady(),
        signature=infer_signature(rows, np.ones(3)),
        input_example=rows,
        pip_requirements=["mlflow", "cloudpickle", "numpy", "pandas"],
    )
