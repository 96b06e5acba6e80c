"""The models that are served: made once into the working folder, with requests and right answers.

M1: scaler + logistic regression on 30 floats. M0: a pyfunc that answers a constant.
"""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

__all__ = ["MODELS", "BenchModel", "Maker", "bodies_of", "pinned", "prepare", "save_pipeline"]

#: Saves a model at a path; gives request bodies, and the answer that each must get.
Maker = Callable[[Path], tuple[list[str], list[Any]]]

#: Different rows, so that an answer that went to the wrong request shows.
_ROWS = 64


@dataclass(frozen=True, slots=True)
class BenchModel:
    """A saved model and what to ask it. `bodies[i]` must be answered with `answers[i]`."""

    name: str
    path: Path
    bodies: list[bytes]
    answers: list[Any]

    @property
    def pickle(self) -> Path:
        """The sklearn pipeline itself, for who loads it by hand."""
        return self.path / "model.pkl"

    @property
    def example(self) -> Path:
        """One request body as a file."""
        return self.path.parent / f"{self.name}.example.json"


def prepare(name: str, work: Path, makers: Mapping[str, Maker] | None = None) -> BenchModel:
    """The model of that name, made under `work` unless a whole one is there.

    Raises KeyError for a name that is not in MODELS, or in `makers` where they are given.
    """
    path = work.resolve() / "models" / name.lower()
    requests = path.with_suffix(".requests.json")
    if not requests.exists():
        shutil.rmtree(path, ignore_errors=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        # The model must not take this repository's own lock file for its environment.
        os.environ["MLFLOW_UV_AUTO_DETECT"] = "false"
        os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{work.resolve()}/mlflow.db")
        bodies, answers = (makers or MODELS)[name](path)
        # Written last: its presence says that the model beside it is whole.
        requests.write_text(json.dumps({"bodies": bodies, "answers": answers}))
    stored = json.loads(requests.read_text())
    model = BenchModel(
        name.lower(), path, [body.encode() for body in stored["bodies"]], stored["answers"]
    )
    model.example.write_bytes(model.bodies[0])
    return model


def _breast_cancer() -> tuple[Any, Any]:
    from sklearn.datasets import load_breast_cancer

    features, target = load_breast_cancer(return_X_y=True, as_frame=True)
    return features, target


def pinned(*packages: str) -> list[str]:
    """As installed here: every contender then runs the model in this very environment."""
    return [f"{package}=={version(package)}" for package in packages]


def bodies_of(rows: Any) -> list[str]:
    columns = list(rows.columns)
    # By `to_dict`, which makes plain numbers of NumPy's even where columns are of several kinds.
    return [
        json.dumps({"dataframe_split": {"columns": columns, "data": [row]}})
        for row in rows.to_dict("split")["data"]
    ]


def save_pipeline(pipeline: Any, frame: Any, path: Path) -> None:
    """Save a fitted scikit-learn pipeline as MLflow saves it, with ``frame`` as its example."""
    import mlflow.sklearn
    from mlflow.models import infer_signature

    mlflow.sklearn.save_model(
        pipeline,
        str(path),
        serialization_format="cloudpickle",
        signature=infer_signature(frame, pipeline.predict(frame)),
        input_example=frame.head(3),
        pip_requirements=pinned(
            "mlflow", "cloudpickle", "numpy", "pandas", "scikit-learn", "scipy"
        ),
    )


def _logistic(path: Path) -> tuple[list[str], list[Any]]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features, target = _breast_cancer()
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    pipeline.fit(features, target)
    save_pipeline(pipeline, features, path)
    rows = features.head(_ROWS)
    return bodies_of(rows), [[answer] for answer in pipeline.predict(rows).tolist()]


def _constant(path: Path) -> tuple[list[str], list[Any]]:
    import mlflow.pyfunc
    from mlflow.models import infer_signature

    class Constant(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        # No type hints: MLflow would read a schema out of them.
        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
            return [0.5] * len(model_input)

    features, _ = _breast_cancer()
    mlflow.pyfunc.save_model(
        str(path),
        python_model=Constant(),
        signature=infer_signature(features, [0.5]),
        input_example=features.head(3),
        pip_requirements=pinned("mlflow", "cloudpickle", "numpy", "pandas"),
    )
    rows = features.head(_ROWS)
    return bodies_of(rows), [[0.5]] * len(rows)


MODELS: dict[str, Maker] = {
    "M0": _constant,
    "M1": _logistic,
}
