"""Capture is quick enough to stand beside every training: 300,000 rows of 20 columns."""

import resource
import time

import numpy as np
import pandas as pd

from serinus.contract import capture


def test_300_000_rows_of_20_columns_within_ten_seconds_and_a_gigabyte() -> None:
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import SGDClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    random = np.random.default_rng(0)
    n = 300_000
    numbers = {f"n{at}": random.normal(size=n) * 10**at for at in range(6)}
    wholes = {f"i{at}": random.integers(0, 10 ** (at + 1), n) for at in range(5)}
    words = {
        f"c{at}": np.array([f"word {each}" for each in range(size)])[random.integers(0, size, n)]
        for at, size in enumerate((3, 16, 105, 900, 4000))
    }
    flags = {f"b{at}": random.random(n) < 0.3 for at in range(2)}
    minutes = pd.to_timedelta(random.integers(0, 500_000, n), unit="min")
    times = {f"t{at}": pd.Timestamp("2013-01-01") + minutes for at in range(2)}
    frame = pd.DataFrame({**numbers, **wholes, **words, **flags, **times})
    assert frame.shape == (n, 20)
    y = (frame["n0"] > 0).astype(int)
    model = make_pipeline(
        make_column_transformer(
            (StandardScaler(), [*numbers, *wholes]),
            (OneHotEncoder(handle_unknown="ignore"), ["c0", "c1", "c2", "c3"]),
        ),
        SGDClassifier(loss="log_loss", max_iter=3, tol=None),
    ).fit(frame[:5000], y[:5000])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    bundle = capture(model, frame, y, say=len)
    took = time.perf_counter() - start
    assert 200 <= len(bundle.golden) <= 256
    assert took < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1024 * 1024
