"""Scalers and linear models as plain arithmetic: the same bits, and no more is let through."""

from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    RidgeClassifier,
    SGDClassifier,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler
from sklearn.svm import LinearSVC

from serinus.replica.arithmetic import arithmetic
from serinus.replica.block import shortened

_RANDOM = np.random.default_rng(3)
_X = np.asfortranarray(_RANDOM.normal(20.0, 7.0, (300, 9)))
_TWO = (_X[:, 0] + _X[:, 2] > 40).astype(int)
_THREE = np.array(["low", "middle", "high"])[_TWO + (_X[:, 1] > 20)]
_Y = _X @ _RANDOM.normal(size=9) + 3
_MANY = np.column_stack([_Y, _Y * 2 + _X[:, 0]])

_KNOWN = [
    (make_pipeline(StandardScaler(), LogisticRegression()), _TWO),
    (make_pipeline(StandardScaler(), LogisticRegression()), _THREE),
    (make_pipeline(MinMaxScaler(), SGDClassifier(random_state=0)), _TWO == 1),
    (make_pipeline(MinMaxScaler(), StandardScaler(with_std=False), LinearSVC()), _THREE),
    (make_pipeline(StandardScaler(with_mean=False), LinearRegression()), _Y),
    (LinearRegression(), _MANY),
    (LogisticRegression(max_iter=3000), _THREE),
]


class _Mine(LogisticRegression):  # type: ignore[misc]
    def predict(self, X: Any) -> Any:  # noqa: N803 - scikit-learn's name
        return super().predict(X)[::-1]


def _never(_data: Any) -> Any:
    raise AssertionError("went the whole way")


def _steps(estimator: Any) -> list[Any]:
    return [step for _, step in getattr(estimator, "steps", [("", estimator)])]


@pytest.mark.parametrize("which", range(len(_KNOWN)))
def test_answers_are_the_same_bits_without_the_whole_way(which: int) -> None:
    estimator, target = _KNOWN[which]
    estimator.fit(_X, target)
    short = arithmetic(_steps(estimator), "predict", _never)
    for rows in (1, 2, 3, 64, 300):
        for order in (np.asfortranarray, np.ascontiguousarray):
            data = order(_X[:rows])
            before = data.copy()
            theirs, ours = estimator.predict(data), short(data)
            assert (theirs.dtype, theirs.shape) == (ours.dtype, ours.shape)
            assert theirs.tobytes() == ours.tobytes()
            assert data.tobytes() == before.tobytes(), "the input was changed"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1.7e308])
def test_what_the_estimator_refuses_goes_to_it(bad: float) -> None:
    # The last is finite until it is scaled.
    estimator = make_pipeline(StandardScaler(), LogisticRegression()).fit(_X * 1e-3, _TWO)
    data = _X[:3].copy()
    data[1, 4] = bad
    short = shortened(estimator, "predict")
    with np.errstate(over="ignore"):
        for predict in (estimator.predict, short):
            with pytest.raises(ValueError, match=r"Input .*contains"):
                predict(data)


def test_whatever_is_no_block_of_its_width_goes_the_whole_way() -> None:
    estimator = make_pipeline(StandardScaler(), LogisticRegression()).fit(_X, _TWO)
    seen: list[Any] = []
    short = arithmetic(_steps(estimator), "predict", seen.append)
    odd = [_X[:2].tolist(), _X[:2].astype(np.float32), _X[:0], _X[:2, :8], _X[0], None]
    for data in odd:
        short(data)
    assert len(seen) == len(odd)


@pytest.mark.parametrize(
    "estimator",
    [
        make_pipeline(StandardScaler(), _Mine()),
        make_pipeline(MinMaxScaler(clip=True), LogisticRegression()),
        make_pipeline(RobustScaler(), LogisticRegression()),
        make_pipeline(StandardScaler(), RidgeClassifier()),
        make_pipeline(StandardScaler(), RandomForestClassifier(3)),
    ],
    ids=["author's own", "clip", "robust", "ridge classifier", "forest"],
)
def test_what_is_not_known_is_asked_itself(estimator: Any) -> None:
    estimator.fit(_X, _TWO)
    assert arithmetic(_steps(estimator), "predict", _never) is _never


def test_a_scaler_that_makes_frames_is_asked_itself() -> None:
    scaler = StandardScaler().set_output(transform="pandas")
    estimator = make_pipeline(scaler, LogisticRegression()).fit(_X, _TWO)
    assert arithmetic(_steps(estimator), "predict", _never) is _never


def test_a_method_put_over_the_classes_own_counts() -> None:
    estimator = make_pipeline(StandardScaler(), LogisticRegression()).fit(_X, _TWO)
    estimator.steps[-1][1].predict = lambda _data: "mine"
    assert arithmetic(_steps(estimator), "predict", _never) is _never


def test_only_predict_is_arithmetic() -> None:
    estimator = LogisticRegression(max_iter=3000).fit(_X, _TWO)
    assert arithmetic([estimator], "predict_proba", _never) is _never
