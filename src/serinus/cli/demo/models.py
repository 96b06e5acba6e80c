"""Two honest models of one question: does this flight arrive more than 15 minutes late?

Only classes of scikit-learn go into a pipeline, so that a replica can load it without this code.
"""

import json
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import asdict, dataclass
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from typing import Any

import mlflow
from mlflow.models import infer_signature
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from serinus.cli.demo.data import Flights

__all__ = [
    "NAME",
    "Candidate",
    "Version",
    "auc",
    "modest",
    "prepare",
    "strong",
    "tracking_uri",
    "train",
]

#: Registered model and endpoint alike.
NAME = "flight-delay"

#: Named by hand: finding them out by tracing an import would take longer than the training.
_REQUIREMENTS = ("mlflow", "scikit-learn", "pandas", "numpy", "scipy", "cloudpickle")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A trained model and what it is worth on flights that it has not seen."""

    pipeline: Any
    auc: float


@dataclass(frozen=True, slots=True)
class Version:
    """A registered version of `NAME`, with its AUC on held-out flights."""

    number: str
    auc: float

    @property
    def served_name(self) -> str:
        """How the endpoint calls it."""
        return f"{NAME}-{self.number}"


def modest() -> Pipeline:
    """Version 1: a logistic regression that knows the timetable and nothing of the weather."""
    return make_pipeline(
        make_column_transformer(
            (StandardScaler(), ["hour", "distance"]),
            (OneHotEncoder(handle_unknown="ignore"), ["origin"]),
        ),
        LogisticRegression(),
    )


def strong() -> Pipeline:
    """Version 2: boosted trees over every column; they take missing weather as it is."""
    words = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    return make_pipeline(
        make_column_transformer(
            (words, ["carrier", "origin", "dest"]),
            remainder="passthrough",
        ),
        HistGradientBoostingClassifier(
            max_iter=150, learning_rate=0.1, max_leaf_nodes=31, random_state=13
        ),
    )


def train(pipeline: Pipeline, flights: Flights) -> Candidate:
    """Fit on the training days, measure on the others."""
    pipeline.fit(flights.train, flights.train_late)
    scores = pipeline.predict_proba(flights.test)[:, 1]
    return Candidate(pipeline, auc(flights.test_late, scores))


def auc(late: Any, scores: Any) -> float:
    """How often a late flight gets the higher score of a late and a punctual one."""
    return float(roc_auc_score(late, scores))


def prepare(home: Path, flights: Flights) -> list[Version]:
    """Both versions, registered in the demo's own MLflow store; trained only the first time."""
    note, made_with = home / "models.json", {each: version(each) for each in _REQUIREMENTS}
    if note.is_file():
        kept = json.loads(note.read_bytes())
        if kept["made_with"] == made_with:
            return [Version(**each) for each in kept["versions"]]
    versions = [_register(train(each(), flights), flights, home) for each in (modest, strong)]
    kept = {"made_with": made_with, "versions": [asdict(each) for each in versions]}
    note.write_text(json.dumps(kept, indent=2))
    return versions


def tracking_uri(home: Path) -> str:
    """The demo's own MLflow store; what else is in this machine's MLflow is left alone."""
    return f"sqlite:///{home}/mlflow.db"


def _register(candidate: Candidate, flights: Flights, home: Path) -> Version:
    """Log the model to MLflow as the next version of `NAME`."""
    with _quiet():
        mlflow.set_tracking_uri(tracking_uri(home))
        mlflow.set_registry_uri(tracking_uri(home))
        client = mlflow.MlflowClient()
        if client.get_experiment_by_name("demo") is None:
            client.create_experiment("demo", artifact_location=(home / "artifacts").as_uri())
        mlflow.set_experiment("demo")
        example = flights.test.head(5)
        with mlflow.start_run():
            mlflow.log_metric("auc", candidate.auc)
            logged = mlflow.sklearn.log_model(
                candidate.pipeline,
                name="model",
                registered_model_name=NAME,
                serialization_format="cloudpickle",
                signature=infer_signature(example, candidate.pipeline.predict_proba(example)),
                input_example=example,
                pyfunc_predict_fn="predict_proba",
                pip_requirements=[f"{each}=={version(each)}" for each in _REQUIREMENTS],
            )
    return Version(str(logged.registered_model_version), candidate.auc)


@contextmanager
def _quiet() -> Iterator[None]:
    """MLflow's advice on integer columns, pickles and new tables is not the demo's story."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    logging.disable(logging.WARNING)
    try:
        with redirect_stderr(StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
