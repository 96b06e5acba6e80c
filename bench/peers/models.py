"""M0 to M4: saved for MLflow, and pickled bare for whoever loads them by hand; with their answers.

The bare form is the cheapest that a peer can have: no MLflow around it, no schema.
"""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.models import MODELS, BenchModel, Maker, bodies_of, pinned, prepare, save_pipeline
from bench.peers.environments import ENVIRONMENTS

__all__ = ["ABOUT", "NAMES", "NEEDS", "Case", "case"]

_ROWS = 64
_TRAINED_ON = 20_000
#: What a call of M4 takes, however many rows it has.
SLEEP_S = 0.02
#: So far from the border must a row lie, that no order of summing can change its class.
_CLEAR = 1e-3

ABOUT = {
    "M0": "a pyfunc that answers a constant, 30 floats",
    "M1": "scaler + logistic regression, 30 floats",
    "M2": "ordinal, one-hot + gradient boosting of 100 trees, 12 mixed columns",
    "M3": "a small torch network, 30 floats",
    "M4": "a pyfunc that waits 20 ms in each call, 30 floats",
}
NAMES = tuple(ABOUT)
#: What must be installed besides, to make a model and to serve it.
NEEDS = {"M3": "torch"}


@dataclass(frozen=True, slots=True)
class Case:
    """A model in both forms, and what it is asked. `answers[i]` belongs to `rows[i]`."""

    name: str
    model: BenchModel
    #: An object with `predict(frame)`, pickled.
    bare: Path
    columns: list[str]
    rows: list[list[Any]]
    #: As MLflow writes them, and as the bare form gives them.
    answers: list[Any]
    plain: list[Any]

    @property
    def numbers(self) -> bool:
        """All columns are floats, so that a row can travel as one tensor."""
        return all(isinstance(value, float) for value in self.rows[0])


def case(name: str, work: Path) -> Case:
    """The model of that name, made unless it is there. Raises KeyError for an unknown one."""
    if name in NEEDS and (extra := str(ENVIRONMENTS[NEEDS[name]].packages_folder)) not in sys.path:
        # At the end: nothing that is installed here may be shadowed.
        sys.path.append(extra)
    model = prepare(name, work, _MAKERS)
    bare = model.path.with_suffix(".bare.pkl")
    if not bare.exists():
        _write(bare, _BARE[name](model.path))
    split = [json.loads(body)["dataframe_split"] for body in model.bodies]
    plain = [_first(answer) for answer in model.answers]
    rows = [each["data"][0] for each in split]
    return Case(name, model, bare, split[0]["columns"], rows, model.answers, plain)


def _first(answer: list[Any]) -> list[Any]:
    """MLflow answers torch's output as records, {"0": value}; the bare form as values."""
    return [next(iter(row.values())) if isinstance(row, dict) else row for row in answer]


def _write(path: Path, thing: Any) -> None:
    import cloudpickle

    beside = path.with_suffix(".part")
    # By value: who loads it has no such module.
    beside.write_bytes(cloudpickle.dumps(thing))
    os.replace(beside, path)


def _constant(path: Path, seconds: float = 0.0) -> tuple[list[str], list[Any]]:
    import mlflow.pyfunc
    from mlflow.models import infer_signature

    class Constant(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        # No type hints: MLflow would read a schema out of them.
        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
            import time

            import numpy

            if seconds:
                time.sleep(seconds)
            # No list: MLServer's runtime for MLflow can't encode one.
            return numpy.full(len(model_input), 0.5)

    features = _cancer()
    mlflow.pyfunc.save_model(
        str(path),
        python_model=Constant(),
        signature=infer_signature(features, [0.5]),
        input_example=features.head(3),
        pip_requirements=pinned("mlflow", "cloudpickle", "numpy", "pandas"),
    )
    return bodies_of(features.head(_ROWS)), [[0.5]] * _ROWS


def _boosted(path: Path) -> tuple[list[str], list[Any]]:
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

    from bench.diagnosis_data import flights

    study = flights()
    words, one_hot = ["carrier", "dest"], ["origin"]
    numbers = ["month", "hour", "weekday", "distance", "temp", "humid", "wind_speed", "precip"]
    frame = study.frame[[*words, *one_hot, *numbers, "visib"]]
    whole = frame.notna().all(axis=1).to_numpy()
    frame, labels = frame[whole].head(_TRAINED_ON), study.labels[whole][:_TRAINED_ON]
    # As a person writes them: text is plain text, whatever pandas read it as.
    frame = frame.astype(dict.fromkeys([*words, *one_hot], object) | {"weekday": "int64"})
    frame = frame.reset_index(drop=True)
    ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    pipeline = make_pipeline(
        make_column_transformer(
            (ordinal, words),
            (OneHotEncoder(handle_unknown="ignore", sparse_output=False), one_hot),
            ("passthrough", [*numbers, "visib"]),
        ),
        HistGradientBoostingClassifier(max_iter=100, early_stopping=False, random_state=1),
    )
    pipeline.fit(frame, labels)
    save_pipeline(pipeline, frame, path)
    rows = _of_both(frame, pipeline.predict(frame))
    return bodies_of(rows), [[answer] for answer in pipeline.predict(rows).tolist()]


def _network(path: Path) -> tuple[list[str], list[Any]]:
    import mlflow.pyfunc
    import mlflow.pytorch
    import torch as library
    from mlflow.models import infer_signature

    library.manual_seed(1)

    class Label(library.nn.Module):  # type: ignore[misc]
        def forward(self, logits):  # type: ignore[no-untyped-def]
            return (logits > 0).long()

    features = _cancer()
    scaled = (features - features.mean()) / features.std()
    body = library.nn.Sequential(
        library.nn.Linear(scaled.shape[1], 64), library.nn.ReLU(), library.nn.Linear(64, 1)
    )
    logits = body(library.tensor(scaled.to_numpy(), dtype=library.float32)).detach().numpy()
    clear = abs(logits[:, 0]) > _CLEAR
    rows = _of_both(scaled[clear], logits[clear, 0] > 0)
    network = library.nn.Sequential(body, Label()).eval()
    mlflow.pytorch.save_model(
        network,
        str(path),
        serialization_format="pickle",
        # With outputs: MLServer's runtime for MLflow does not load a model without.
        signature=infer_signature(rows, _of_network(network).predict(rows).reshape(-1, 1)),
        input_example=rows.head(3),
        pip_requirements=[
            *pinned("mlflow", "cloudpickle", "numpy", "pandas"),
            *ENVIRONMENTS["torch"].packages,
        ],
    )
    found = mlflow.pyfunc.load_model(str(path)).predict(rows)
    _write(path.with_suffix(".bare.pkl"), _of_network(network))
    return bodies_of(rows), [[{"0": int(value)}] for value in found.to_numpy()[:, 0]]


def _of_both(frame: Any, labels: Any) -> Any:
    """Rows of either class in turns: an answer that went to the wrong request must show."""
    import numpy

    half = _ROWS // 2
    chosen = [numpy.flatnonzero(labels == label)[:half] for label in (0, 1)]
    return frame.iloc[numpy.stack(chosen, axis=1).ravel()].reset_index(drop=True)


def _of_network(network: Any) -> Any:
    class Bare:
        def predict(self, frame):  # type: ignore[no-untyped-def]
            import numpy
            import torch

            with torch.inference_mode():
                rows = torch.from_numpy(numpy.asarray(frame, dtype=numpy.float32))
                return network(rows).numpy()[:, 0]

    return Bare()


def _of_constant(seconds: float) -> Any:
    class Bare:
        def predict(self, frame):  # type: ignore[no-untyped-def]
            import time

            import numpy

            if seconds:
                time.sleep(seconds)
            return numpy.full(len(frame), 0.5)

    return Bare()


def _of_pipeline(path: Path) -> Any:
    import cloudpickle

    return cloudpickle.loads((path / "model.pkl").read_bytes())


def _cancer() -> Any:
    from sklearn.datasets import load_breast_cancer

    return load_breast_cancer(return_X_y=True, as_frame=True)[0]


_MAKERS: dict[str, Maker] = {
    "M0": _constant,
    "M1": MODELS["M1"],
    "M2": _boosted,
    "M3": _network,
    "M4": lambda path: _constant(path, SLEEP_S),
}
_BARE: dict[str, Callable[[Path], Any]] = {
    "M0": lambda _: _of_constant(0.0),
    "M1": _of_pipeline,
    "M2": _of_pipeline,
    "M4": lambda _: _of_constant(SLEEP_S),
}
