"""How long a verification of 256 golden rows takes: ``python -m bench.verification``.

One real replica process over its socket; what is measured begins when it is ready.
"""

import json
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from serinus.engine.artifacts import ModelStore
from serinus.engine.trial import trial
from serinus.engine.verifying import verify_replica
from serinus.entities import EnvironmentRef, ModelRef

__all__ = ["measure"]

_ROUNDS = 5


class _Own:
    """Gives the model the environment of the benchmark."""

    def prepare(
        self, model: ModelRef, directory: Path, say: Callable[[str], None]
    ) -> EnvironmentRef:
        return EnvironmentRef("own", sys.executable, "current")


def _model(path: Path) -> Path:
    """A pipeline over numbers and three hundred categories, with its contract."""
    # Seconds of imports that only this needs.
    import mlflow.sklearn
    import numpy as np
    import pandas as pd
    from mlflow.models import infer_signature
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    import serinus.contract

    random = np.random.default_rng(1)
    rows, numbers = 20_000, [f"n{at}" for at in range(12)]
    frame = pd.DataFrame(random.normal(size=(rows, 12)), columns=numbers)
    frame["place"] = [f"place {at}" for at in random.integers(0, 300, rows)]
    frame["kind"] = random.choice(["a", "b", "c", "d"], rows)
    target = (frame["n0"] + frame["n1"] + (frame["kind"] == "a") > 0.3).astype(int)
    columns = make_column_transformer(
        (StandardScaler(), numbers), (OneHotEncoder(handle_unknown="ignore"), ["place", "kind"])
    )
    model = make_pipeline(columns, LogisticRegression(max_iter=500)).fit(frame, target)
    mlflow.sklearn.save_model(
        model,
        str(path),
        serialization_format="cloudpickle",
        signature=infer_signature(frame, model.predict(frame)),
        input_example=frame.head(5),
        pip_requirements=["scikit-learn"],
    )
    serinus.contract.capture(model, frame, target, into=path, say=lambda line: None)
    return path


def measure(home: Path) -> dict[str, object]:
    """Seconds of each round, and what was verified."""
    store = ModelStore(home / "store")
    path = _model(home / "model")
    digest = store.add(path)
    ref = store.ref(digest, uri=str(path), resolved=str(path))
    began = time.perf_counter()
    with trial(
        ref,
        home / "t",
        store=store,
        builder=_Own(),
        environ=os.environ,
        clock=lambda: datetime.now(UTC),
        say=lambda line: None,
    ) as replica:
        started = time.perf_counter() - began
        seconds, reports = [], []
        for _ in range(_ROUNDS):
            began = time.perf_counter()
            reports.append(verify_replica(store.path(digest), replica.address, digest))
            seconds.append(time.perf_counter() - began)
    report = reports[-1]
    return {
        "rows": report.rows,
        "result": report.result.value,
        "process_start_s": round(started, 2),
        "first_s": round(seconds[0], 2),
        "median_s": round(statistics.median(seconds), 2),
        "failed": report.failed.detail if report.failed else "",
    }


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory(prefix="srn-") as scratch:
        sys.stdout.write(json.dumps(measure(Path(scratch)), indent=2) + "\n")
