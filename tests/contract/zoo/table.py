"""All species, in the order of the page."""

from typing import Any

from tests.contract.zoo import answers, libraries, signatures
from tests.contract.zoo.species import ALONE, ROWS, ULPS, Species, numbers, whole
from tests.models import MODELS, flights

__all__ = ["ZOO"]

_JSON_ONLY: dict[str, Any] = {"csv": False, "parquet": False}

ZOO: dict[str, Species] = {
    "scikit-learn pipeline": Species(
        MODELS["flights-2"], lambda: flights(ROWS), "columns of six types, gaps", "labels"
    ),
    "scikit-learn `predict_proba`": Species(
        libraries.proba, whole, "columns of double", "float64, 2 columns", ULPS
    ),
    "XGBoost, scikit-learn API": Species(
        libraries.xgb_classifier, numbers, "columns of double, gaps", "labels"
    ),
    "XGBoost booster": Species(libraries.booster, numbers, "columns of double, gaps", "float32"),
    "LightGBM, scikit-learn API": Species(
        libraries.lgbm_regressor, numbers, "columns of double, gaps", "float64"
    ),
    "LightGBM booster": Species(
        libraries.lightgbm_booster, numbers, "columns of double, gaps", "float64"
    ),
    "statsmodels OLS": Species(libraries.ols, whole, "columns of double", "Series", ULPS),
    "statsmodels GLM": Species(libraries.glm, whole, "columns of double", "Series", ULPS),
    "model from code": Species(libraries.from_code, whole, "columns of double", "float64"),
    "pyfunc with artifacts": Species(
        libraries.artifacts, numbers, "columns of double, gaps", "float64"
    ),
    "pyfunc with modules of its own": Species(
        libraries.own_modules, whole, "columns of double", "Series"
    ),
    "pyfunc with params": Species(
        signatures.pyfunc(signatures.Scaled, whole, signatures.params_signature),
        whole,
        "columns of double; two params",
        "float64",
        params={"by": 0.3, "word": "abc"},
        **_JSON_ONLY,
    ),
    "pyfunc with type hints": Species(
        signatures.hinted,
        lambda: ["a", "ß", "c"],
        "`list[str]`",
        "list of strings",
        ALONE,
        "inputs",
        **_JSON_ONLY,
    ),
    "pyfunc without a signature": Species(
        signatures.unsigned, whole, "any columns", "list of strings", ALONE
    ),
    "every simple type": Species(
        signatures.pyfunc(signatures.Says, signatures.simple, signatures.simple_signature),
        signatures.simple,
        "columns of eight types, gaps",
        "list of strings",
        csv=False,
    ),
    "nested types": Species(
        signatures.pyfunc(signatures.Says, signatures.nested, signatures.nested_signature),
        signatures.nested,
        "array, object, map, array of objects",
        "list of strings",
        csv=False,
    ),
    "dates and zones": Species(
        signatures.pyfunc(signatures.NextDay, signatures.days),
        signatures.days,
        "a column of datetime",
        "DataFrame of times",
    ),
    "tensor": Species(
        signatures.pyfunc(signatures.Sums, signatures.vectors),
        signatures.vectors,
        "float64, (-1, 3)",
        "float64",
        form="instances",
    ),
    "tensor of images": Species(
        signatures.pyfunc(signatures.Sums, signatures.images),
        signatures.images,
        "float32, (-1, 2, 2, 2)",
        "float32",
        form="inputs",
        **_JSON_ONLY,
    ),
    "named tensors": Species(
        signatures.pyfunc(signatures.Sums, signatures.both, signatures.both_signature),
        signatures.both,
        "float32, (-1, 2, 2, 2) and int64, (-1)",
        "float64",
        form="inputs",
        **_JSON_ONLY,
    ),
    **{
        f"answers: {shown}": Species(
            answers.ways,
            lambda: whole()[["a"]],
            "a column of double",
            shown,
            params={"way": way},
            written=written,
            **_JSON_ONLY,
        )
        for way, (shown, _, written) in answers.ANSWERS.items()
    },
    "ONNX": Species(
        libraries.onnx_graph,
        libraries.floats,
        "float32, (-1, 3)",
        "dict of float32",
        ULPS,
        "inputs",
        needs=("onnx", "onnxruntime"),
        **_JSON_ONLY,
    ),
    "PyTorch": Species(
        libraries.torch_net,
        libraries.floats,
        "float32, (-1, 3)",
        "float32",
        ULPS,
        "inputs",
        needs=("torch",),
        **_JSON_ONLY,
    ),
}
