"""Models of libraries, and models that are code: a script, modules of their own, files beside."""

import json
import warnings
from pathlib import Path
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import cloudpickle
    import mlflow.pyfunc
    import mlflow.sklearn
    import numpy as np
    import pandas as pd
    from mlflow.models import infer_signature
    from sklearn.linear_model import LogisticRegression

from tests.contract.zoo.species import PIP, ROWS, Model, numbers, signed, whole

__all__ = [
    "artifacts",
    "booster",
    "floats",
    "from_code",
    "glm",
    "lgbm_regressor",
    "lightgbm_booster",
    "ols",
    "onnx_graph",
    "own_modules",
    "proba",
    "torch_net",
    "xgb_classifier",
]

cloudpickle.register_pickle_by_value(__import__(__name__, fromlist=["*"]))


def _target(frame: pd.DataFrame) -> Any:
    return (frame["a"] + frame["b"].fillna(0) / 10 > 0).astype(int).to_numpy()


# Libraries


def xgb_classifier(path: Path) -> None:
    import mlflow.xgboost
    import xgboost

    frame = numbers()
    model = xgboost.XGBClassifier(n_estimators=20, max_depth=3, n_jobs=1)
    model.fit(frame, _target(frame))
    mlflow.xgboost.save_model(model, str(path), **signed(frame, model.predict), **PIP)


def booster(path: Path) -> None:
    import mlflow.xgboost
    import xgboost

    frame = numbers()
    data = xgboost.DMatrix(frame, frame["c"])
    model = xgboost.train({"max_depth": 3, "nthread": 1}, data, 20)
    saved = signed(frame, lambda some: model.predict(xgboost.DMatrix(some)))
    mlflow.xgboost.save_model(model, str(path), **saved, **PIP)


def lgbm_regressor(path: Path) -> None:
    import lightgbm
    import mlflow.lightgbm

    frame = pd.concat([numbers()] * 10, ignore_index=True)
    model = lightgbm.LGBMRegressor(n_estimators=20, min_child_samples=2, n_jobs=1, verbose=-1)
    model.fit(frame, frame["c"])
    mlflow.lightgbm.save_model(model, str(path), **signed(numbers(), model.predict), **PIP)


def lightgbm_booster(path: Path) -> None:
    import lightgbm
    import mlflow.lightgbm

    frame = pd.concat([numbers()] * 10, ignore_index=True)
    model = lightgbm.train(
        {"objective": "binary", "num_threads": 1, "verbose": -1, "min_data_in_leaf": 2},
        lightgbm.Dataset(frame, _target(frame)),
        20,
    )
    mlflow.lightgbm.save_model(model, str(path), **signed(numbers(), model.predict), **PIP)


def ols(path: Path) -> None:
    import mlflow.statsmodels
    import statsmodels.api as sm

    frame = whole()
    model = sm.OLS(frame["c"] + np.arange(ROWS), frame).fit()
    mlflow.statsmodels.save_model(model, str(path), **signed(frame, model.predict), **PIP)


def glm(path: Path) -> None:
    import mlflow.statsmodels
    import statsmodels.api as sm

    frame = whole()
    model = sm.GLM(np.arange(ROWS) % 2, frame, family=sm.families.Binomial()).fit()
    mlflow.statsmodels.save_model(model, str(path), **signed(frame, model.predict), **PIP)


def proba(path: Path) -> None:
    frame = whole()
    model = LogisticRegression().fit(frame, _target(frame))
    saved = signed(frame, model.predict_proba)
    mlflow.sklearn.save_model(
        model,
        str(path),
        serialization_format="cloudpickle",
        pyfunc_predict_fn="predict_proba",
        **saved,
        **PIP,
    )


_SCRIPT = '''
"""A model from code: a file, no pickle."""
import mlflow
import numpy as np
from mlflow.pyfunc import PythonModel


class Doubles(PythonModel):
    def predict(self, context, model_input, params=None):
        return np.asarray(model_input["a"]) * 2.0


mlflow.models.set_model(Doubles())
'''


def from_code(path: Path) -> None:
    script = path.with_name(f"{path.name}.py")
    script.write_text(_SCRIPT)
    frame = whole()
    mlflow.pyfunc.save_model(
        str(path),
        python_model=str(script),
        signature=infer_signature(frame, frame["a"].to_numpy()),
        input_example=frame.head(4),
        **PIP,
    )


class _Weighted(Model):
    """Its weights lie in a file beside it."""

    def load_context(self, context: Any) -> None:
        self.weights = json.loads(Path(context.artifacts["weights"]).read_text())

    def predict(self, context, model_input, params=None):
        columns = [model_input[name].to_numpy() * each for name, each in self.weights.items()]
        return sum(columns[1:], columns[0])


def artifacts(path: Path) -> None:
    weights = path.with_name(f"{path.name}.json")
    weights.write_text(json.dumps({"a": 0.1, "b": -3.7, "c": 1e-3}))
    frame = numbers()
    mlflow.pyfunc.save_model(
        str(path),
        python_model=_Weighted(),
        artifacts={"weights": str(weights)},
        signature=infer_signature(frame, frame["a"].to_numpy()),
        input_example=frame.head(4),
        **PIP,
    )


def own_modules(path: Path) -> None:
    package = path.with_name(f"{path.name}_code") / f"{path.name.replace('-', '_')}_inside"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("def scaled(values):\n    return values / 7\n")
    frame = whole()
    mlflow.pyfunc.save_model(
        str(path),
        python_model=_Inside(package.name),
        code_paths=[str(package)],
        signature=infer_signature(frame, frame["a"].to_numpy()),
        input_example=frame.head(4),
        **PIP,
    )


class _Inside(Model):
    def __init__(self, module: str) -> None:
        self.module = module

    def predict(self, context, model_input, params=None):
        import importlib

        return importlib.import_module(self.module).scaled(model_input["c"])


# Where they are installed


def onnx_graph(path: Path) -> None:
    import mlflow.onnx
    import onnx
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w", "b"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2])],
        [
            helper.make_tensor("w", TensorProto.FLOAT, [3, 2], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]),
            helper.make_tensor("b", TensorProto.FLOAT, [2], [1.0, -1.0]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    data = floats()
    signature = infer_signature(data, np.zeros((1, 2), dtype=np.float32))
    mlflow.onnx.save_model(model, str(path), signature=signature, input_example=data[:4], **PIP)


def torch_net(path: Path) -> None:
    import mlflow.pytorch
    import torch

    torch.manual_seed(3)
    model = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
    data = floats()
    signature = infer_signature(data, np.zeros((1, 1), dtype=np.float32))
    mlflow.pytorch.save_model(model, str(path), signature=signature, input_example=data[:4], **PIP)


def floats() -> Any:
    return np.linspace(-1, 1, ROWS * 3, dtype=np.float32).reshape(ROWS, 3)
