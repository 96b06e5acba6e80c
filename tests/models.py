"""Models that tests serve: good ones of several kinds, and ones that misbehave.

Each ``save_*`` writes an MLflow model into a directory that must not exist yet and returns it. To
have one saved once per test session, call `saved` with its name from `MODELS`. Import this module
inside tests only: MLflow takes seconds.
"""

import io
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

# MLflow and its dependencies warn on import and while saving; none of it is about Serinus.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import cloudpickle
    import mlflow.pyfunc
    import mlflow.pyfunc.scoring_server
    import mlflow.sklearn
    import numpy as np
    import pandas as pd
    from mlflow.models import infer_signature
    from sklearn.base import BaseEstimator
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline, make_pipeline
    from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

__all__ = ["MODELS", "flights", "iris", "official", "official_json", "saved"]

# Classes of this module travel inside the saved models, so that a replica needs no tests.
cloudpickle.register_pickle_by_value(__import__(__name__, fromlist=["*"]))

#: What a row of the misbehaving models must hold in ``x`` to set them off.
MARKER = 13.0


def flights(rows: int = 200, seed: int = 7) -> pd.DataFrame:
    """Made-up flights: numbers, strings, a boolean, a date, whole numbers, and gaps."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "dep_delay": random.normal(10, 30, rows),
            "distance": random.uniform(80, 4900, rows),
            "carrier": random.choice(["AA", "UA", "DL", "B6"], rows),
            "origin": random.choice(["EWR", "JFK", "LGA"], rows),
            "weekend": random.random(rows) < 0.3,
            "scheduled": pd.Timestamp("2013-01-01")
            + pd.to_timedelta(random.integers(0, 500_000, rows), unit="min"),
            "hour": random.integers(5, 24, rows),
        }
    )
    frame["scheduled"] = frame["scheduled"].astype("datetime64[ns]")
    frame.loc[frame.index % 7 == 3, "dep_delay"] = np.nan
    frame.loc[frame.index % 11 == 4, "carrier"] = None
    return frame


def late(frame: pd.DataFrame) -> Any:
    """What the flight models learn."""
    delay = frame["dep_delay"].fillna(0) + 20 * frame["weekend"] + frame["hour"]
    return (delay > 25).astype(int).to_numpy()


def iris(rows: int = 150, seed: int = 3) -> pd.DataFrame:
    """Thirty columns of floats."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(rows, 30)) * np.arange(1, 31)
    return pd.DataFrame(values, columns=[f"mean {at}" for at in range(30)])


def _month(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"month": frame["scheduled"].dt.month, "day": frame["scheduled"].dt.day})


def local_hour(frame: pd.DataFrame) -> pd.DataFrame:
    """The hour on the clock of the machine."""
    return frame.assign(hour=[time.localtime(each * 3600).tm_hour for each in frame["hour"]])


def _flight_pipeline(version: int) -> Pipeline:
    numbers = ["dep_delay", "distance", "hour"][: 1 + version]
    columns = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), numbers),
            ("words", OneHotEncoder(handle_unknown="ignore"), ["carrier", "origin"]),
            ("flags", "passthrough", ["weekend"]),
            ("dates", FunctionTransformer(_month), ["scheduled"]),
        ]
    )
    return make_pipeline(columns, LogisticRegression(C=1.0 if version == 1 else 5.0, max_iter=500))


def save_sklearn(path: Path, model: Any, frame: pd.DataFrame, predict_fn: str = "predict") -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.sklearn.save_model(
            model,
            str(path),
            serialization_format="cloudpickle",
            signature=infer_signature(frame, getattr(model, predict_fn)(frame)),
            input_example=frame.head(5),
            pip_requirements=["scikit-learn"],
            pyfunc_predict_fn=predict_fn,
        )
    return path


def save_pyfunc(
    path: Path, model: Any, frame: Any, *, example: bool = True, params: Any = None
) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        signature = None if frame is None else infer_signature(frame, params=params)
        mlflow.pyfunc.save_model(
            str(path),
            python_model=model,
            signature=signature,
            input_example=frame if example else None,
            pip_requirements=["pandas"],
        )
    return path


class Guess(BaseEstimator):  # type: ignore[misc]
    """An estimator that answers anything."""

    def fit(self, frame, target=None):
        self.fitted_ = True
        return self

    def predict(self, frame):
        return np.random.default_rng().random(len(frame))


def save_guess(path: Path) -> Path:
    return save_sklearn(path, Guess().fit(_numbers()), _numbers())


def whole_numbers() -> pd.DataFrame:
    """Two columns of whole numbers."""
    random = np.random.default_rng(5)
    return pd.DataFrame({name: random.integers(-50, 50, 80) for name in ("a", "b")})


def _numbers() -> pd.DataFrame:
    return pd.DataFrame({"x": [1.5, 2.5, 4.0, 7.25], "y": [10.0, 20.0, 5.0, 1.0]})


class _Model(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    def __init_subclass__(cls, **more: Any) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MLflow wants type hints on every predict
            super().__init_subclass__(**more)


class Constant(_Model):
    """Answers 1.0 for each row."""

    def predict(self, context, model_input, params=None):
        return np.ones(len(model_input))


class Version:
    """Answers its own number for each row. Like `Candidate` it is saved as an estimator.

    Tests of traffic start dozens of replicas of these two, and they need no MLflow to serve:
    a second for each. How models of `mlflow.pyfunc` are served is seen with all the others.
    """

    def __init__(self, number: int) -> None:
        self.number = number

    def predict(self, rows):
        return np.full(len(rows), self.number)


class Candidate:
    """Answers its number, after ``ms`` milliseconds; ``x`` decides who gets the worse of it.

    For ``x`` from 100 on, by ``x % 100``: below ``fails`` it raises, below ``flips`` it adds one.
    """

    def __init__(self, number: int, ms: float = 0.0, fails: int = 0, flips: int = 0) -> None:
        self.number, self.ms, self.fails, self.flips = number, ms, fails, flips

    def predict(self, rows):
        time.sleep(self.ms / 1000)
        x = rows["x"].to_numpy()
        hundredth = np.where(x >= 100, x % 100, 100)
        if (hundredth < self.fails).any():
            raise ValueError("this one is beyond me")
        return np.where(hundredth < self.flips, self.number + 1, self.number)


class Echo(_Model):
    """Answers its input as it came, with types."""

    def predict(self, context, model_input, params=None):
        answer = model_input.astype(object).where(model_input.notna(), None)
        answer["types"] = ",".join(str(dtype) for dtype in model_input.dtypes)
        if params:
            answer["params"] = repr(sorted(params.items()))
        return answer


class Demeaned(_Model):
    """Looks at all rows together."""

    def predict(self, context, model_input, params=None):
        return (model_input - model_input.mean()).to_numpy()[:, 0]


class Ranked(_Model):
    """Answers each row's rank among the others."""

    def predict(self, context, model_input, params=None):
        return model_input["x"].rank().to_numpy()


class Scaled(_Model):
    """Sums its inputs, divided by a number; the division is a stage of its own."""

    def __init__(self, by: float) -> None:
        self.by = by

    def vector(self, frame):
        return frame.to_numpy() / self.by

    def predict(self, context, model_input, params=None):
        return self.vector(model_input).sum(axis=1)


class Counting(_Model):
    """Answers how often it was called."""

    calls = 0

    def predict(self, context, model_input, params=None):
        self.calls += 1
        return [self.calls] * len(model_input)


class Random(_Model):
    """Answers something else each time."""

    def predict(self, context, model_input, params=None):
        return np.random.default_rng().random(len(model_input))


class Slow(_Model):
    """Sleeps for the largest ``x`` in milliseconds, once per call."""

    def predict(self, context, model_input, params=None):
        time.sleep(max(float(model_input["x"].max()), 0.0) / 1000)
        return model_input["x"].to_numpy()


class Misbehaving(_Model):
    """Doubles ``x``, until a row of `MARKER` comes."""

    def __init__(self, how: str) -> None:
        self.how = how

    def predict(self, context, model_input, params=None):
        answer = model_input["x"].to_numpy() * 2
        if (model_input["x"] == MARKER).any():
            if self.how == "prints":
                for _ in range(100):
                    print("x" * (1024 * 1024 - 1))
            if self.how == "exits":
                os._exit(7)
            if self.how == "leaves":
                raise SystemExit(3)
            if self.how == "raises":
                raise ValueError("thirteen is not a number I like")
            if self.how == "miscounts":
                return answer[:-1] if len(answer) > 1 else np.zeros(3)
            if self.how == "unwritable":
                return [object()] * len(answer)
        return answer


class Unloadable(_Model):
    """Can be saved and not loaded."""

    def load_context(self, context: Any) -> None:
        if os.environ.get("SERINUS_TEST_SAVING") != "1":
            raise RuntimeError("the weights of this model are missing")

    def predict(self, context, model_input, params=None):
        return np.zeros(len(model_input))


class Hinted(_Model):
    """Its type hints are its signature."""

    def predict(self, model_input: list[str], params=None) -> list[str]:
        return [each.upper() for each in model_input]


def _save_hinted(path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.pyfunc.save_model(
            str(path), python_model=Hinted(), input_example=["a"], pip_requirements=["pandas"]
        )
    return path


def _save_unloadable(path: Path) -> Path:
    os.environ["SERINUS_TEST_SAVING"] = "1"
    try:
        return save_pyfunc(path, Unloadable(), _numbers())
    finally:
        del os.environ["SERINUS_TEST_SAVING"]


def _save_flights(version: int) -> Callable[[Path], Path]:
    def save(path: Path) -> Path:
        frame = flights()
        return save_sklearn(path, _flight_pipeline(version).fit(frame, late(frame)), frame)

    return save


def _save_iris(predict_fn: str) -> Callable[[Path], Path]:
    def save(path: Path) -> Path:
        frame = iris()
        target = (frame["mean 3"] + frame["mean 4"] > 0).astype(int)
        model = make_pipeline(StandardScaler(), LogisticRegression()).fit(frame, target)
        return save_sklearn(path, model, frame, predict_fn)

    return save


def _python(model: Callable[[], Any]) -> Callable[[Path], Path]:
    return lambda path: save_pyfunc(path, model(), _numbers())


def _estimator(model: Callable[[], Any]) -> Callable[[Path], Path]:
    return lambda path: save_sklearn(path, model(), _numbers())


def _misbehaving(how: str) -> Callable[[Path], Path]:
    return _python(lambda: Misbehaving(how))


#: Name → what saves it into a directory that doesn't exist yet.
MODELS: dict[str, Callable[[Path], Path]] = {
    "flights-1": _save_flights(1),
    "flights-2": _save_flights(2),
    "iris": _save_iris("predict"),
    "iris-proba": _save_iris("predict_proba"),
    "constant": _python(Constant),
    "version-1": _estimator(lambda: Version(1)),
    "version-2": _estimator(lambda: Version(2)),
    "version-3": _estimator(lambda: Version(3)),
    "candidate-same": _estimator(lambda: Candidate(1, ms=10)),
    "candidate-again": _estimator(lambda: Candidate(1, ms=10.01)),
    "candidate-fails": _estimator(lambda: Candidate(1, ms=10, fails=20)),
    "candidate-slow": _estimator(lambda: Candidate(1, ms=35)),
    "candidate-flips": _estimator(lambda: Candidate(1, ms=10, flips=20)),
    "candidate-flips-half": _estimator(lambda: Candidate(1, ms=10, flips=50)),
    "echo": lambda path: save_pyfunc(path, Echo(), flights(5)),
    "echo-params": lambda path: save_pyfunc(path, Echo(), _numbers(), params={"k": 1}),
    "hinted": _save_hinted,
    "no-signature": lambda path: save_pyfunc(path, Echo(), None),
    "no-example": lambda path: save_pyfunc(path, Constant(), _numbers(), example=False),
    "tensor": lambda path: save_pyfunc(path, Constant(), np.arange(12.0).reshape(4, 3)),
    "demeaned": _python(Demeaned),
    "ranked": _python(Ranked),
    "counting": _python(Counting),
    "random": _python(Random),
    "slow": _python(Slow),
    "prints": _misbehaving("prints"),
    "exits": _misbehaving("exits"),
    "leaves": _misbehaving("leaves"),
    "raises": _misbehaving("raises"),
    "miscounts": _misbehaving("miscounts"),
    "unwritable": _misbehaving("unwritable"),
    "unloadable": _save_unloadable,
}

# Saved from within a checkout, MLflow would copy its lock file into each model.
os.environ["MLFLOW_LOG_UV_FILES"] = "false"

_HOME: list[tempfile.TemporaryDirectory[str]] = []


def official(name: str) -> Any:
    """The same model as `mlflow.pyfunc` loads it: the oracle for its answers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return mlflow.pyfunc.load_model(str(saved(name)))


def official_json(output: Any) -> str:
    """A model's output as MLflow's own scoring server writes it."""
    written = io.StringIO()
    mlflow.pyfunc.scoring_server.predictions_to_json(output, written)
    return written.getvalue()


def saved(name: str) -> Path:
    """The directory of that model, saved when first asked for; gone when the process ends."""
    if not _HOME:
        _HOME.append(tempfile.TemporaryDirectory(prefix="serinus-models-"))
    path = Path(_HOME[0].name) / name
    return path if path.exists() else MODELS[name](path)
