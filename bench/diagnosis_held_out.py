"""Three more worlds for the diagnosis matrix, of shapes that no rule was written looking at.

Tumours: thirty correlated floats, two classes. Orders: texts, times, nulls, skewed amounts, many
ids and looked-up history, four classes. Visits: whole numbers, flags as numbers, a count.
"""

from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import statsmodels.datasets.randhie as randhie
import xgboost
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from bench.diagnosis_data import Study

__all__ = ["orders", "tumours", "visits"]

_TUMOURS = 40_000
_ORDERS, _CUSTOMERS, _DAYS = 60_000, 3000, 90


def tumours() -> Study:
    """Is it benign? scikit-learn's breast cancer data, 569 rows, made many by interpolation."""
    data = load_breast_cancer(as_frame=True)
    frame, labels = data.data, data.target.to_numpy()
    random = np.random.default_rng(11)
    scaled = StandardScaler().fit_transform(frame)
    first = random.integers(0, len(frame), _TUMOURS)
    other = np.empty(_TUMOURS, dtype=np.int64)
    for label in (0, 1):
        own = np.flatnonzero(labels == label)
        near = NearestNeighbors(n_neighbors=8).fit(scaled[own]).kneighbors(scaled[own])[1]
        place = {int(at): row for row, at in enumerate(own)}
        for at in np.flatnonzero(labels[first] == label):
            other[at] = own[near[place[int(first[at])], random.integers(1, 8)]]
    part = random.random((_TUMOURS, 1))
    values = frame.to_numpy()[first] * (1 - part) + frame.to_numpy()[other] * part
    names = [str(each) for each in frame.columns]
    rows = pd.DataFrame(values, columns=names)
    for name in names:
        rows[name] = rows[name].round(4 if frame[name].max() < 10 else 2)
    shifts = {
        "benign only": labels[first] == 1,
        "malignant only": labels[first] == 0,
        "large": (rows["mean radius"] > 15).to_numpy(),
        "small": (rows["mean radius"] < 12).to_numpy(),
        "smooth": (rows["mean smoothness"] < 0.09).to_numpy(),
        "coarse": (rows["mean texture"] > 21).to_numpy(),
        "uneven": (rows["worst concavity"] > 0.35).to_numpy(),
    }
    return Study(
        name="tumours",
        frame=rows,
        labels=labels[first],
        words=[],
        numbers=names,
        shifts=shifts,
        base=np.ones(_TUMOURS, dtype=bool),
        estimator=_tumour_model,
    )


def _tumour_model(kind: str) -> Any:
    if kind == "linear":
        return make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))
    return make_pipeline(
        StandardScaler(), HistGradientBoostingClassifier(max_iter=60, random_state=1)
    )


def visits() -> Study:
    """How often does somebody see a doctor? The RAND health insurance experiment, as statsmodels
    ships it."""
    rows = randhie.load_pandas().data.sample(frac=1.0, random_state=5).reset_index(drop=True)
    labels = rows.pop("mdvis").to_numpy(dtype=np.float64)
    for name in ("idp", "hlthg", "hlthf", "hlthp"):
        rows[name] = rows[name].astype(int)
    rows["disea"] = rows["disea"].round(1)
    rows["physlm"] = rows["physlm"].where(rows["physlm"].isin([0, 1]))
    random = np.random.default_rng(13)
    rows["age_days"] = (random.gamma(9.0, 1500.0, len(rows)) + 700 * rows["hlthp"]).astype(int)
    rows["interview_month"] = random.choice(np.arange(1, 13), len(rows), p=np.arange(3, 15) / 102)
    rows["fmde"], rows["lpi"] = rows["fmde"].round(4), rows["lpi"].round(4)
    shifts = {
        "healthy": (rows["disea"] < 7).to_numpy(),
        "ill": (rows["disea"] > 14).to_numpy(),
        "deductible": (rows["idp"] == 1).to_numpy(),
        "free care": (rows["lncoins"] == 0).to_numpy(),
        "old": (rows["age_days"] > 17_000).to_numpy(),
        "winter": (rows["interview_month"] >= 10).to_numpy(),
    }
    return Study(
        name="visits",
        frame=rows,
        labels=labels,
        words=[],
        numbers=[str(each) for each in rows.columns],
        shifts=shifts,
        base=np.ones(len(rows), dtype=bool),
        estimator=_visit_model,
        predict="predict",
    )


def _visit_model(kind: str) -> Any:
    if kind == "linear":
        return make_pipeline(SimpleImputer(strategy="median"), StandardScaler(), Ridge())
    return make_pipeline(
        SimpleImputer(strategy="median"),
        lightgbm.LGBMRegressor(n_estimators=60, random_state=1, verbose=-1, n_jobs=1),
    )


def orders() -> Study:
    """How will an order arrive: early, in time, late, lost? All of it is made up here."""
    random = np.random.default_rng(17)
    rows = _ordered(random)
    history, truth = _history(rows, random)
    rows = pd.concat([rows, truth], axis=1)
    score = (
        0.9 * np.log1p(rows["amount"])
        + 0.5 * (rows["channel"] == "Phone")
        + 0.04 * (rows["placed_hour"] - 12)
        - 0.2 * rows["rating"].fillna(3.0)
        + 0.3 * rows["country"].isin(["SE", "NO", "FI"])
        + random.normal(0, 0.8, len(rows))
    )
    cuts = np.quantile(score, [0.3, 0.65, 0.9])
    words = ["country", "channel", "sku", "coupon", "segment"]
    numbers = [
        "amount", "items", "grams", "discount", "age", "placed_hour", "placed_weekday",
        "spent", "rating",
    ]  # fmt: skip
    looked_up = ["spent", "rating", "segment"]
    by_customer = {"source": "lookup:customers", "entity_keys": ["customer"], "max_age": "P2D"}
    amount, placed = rows["amount"].to_numpy(), rows["placed"]
    base = (placed < pd.Timestamp("2026-05-01")).to_numpy()
    shifts = {
        f"country {each}": base & (rows["country"] == each).to_numpy() for each in ("DE", "FR")
    }
    shifts |= {
        "by phone": base & (rows["channel"] == "Phone").to_numpy(),
        "dear": base & (amount > 80),
        "cheap": base & (amount < 15),
        "evening": base & (rows["placed_hour"] >= 18).to_numpy(),
        "weekend": base & (rows["placed_weekday"] >= 6).to_numpy(),
        "heavy": base & (rows["grams"] > 3000).to_numpy(),
        "sale": base & rows["coupon"].notna().to_numpy(),
        "elderly": base & (rows["age"] > 55).to_numpy(),
        "good customers": base & (rows["spent"] > 900).to_numpy(),
    }
    return Study(
        name="orders",
        frame=rows[
            [*words, *numbers, "customer", "gift", "placed"]
        ],
        labels=np.digitize(score, cuts),
        words=words,
        numbers=numbers,
        looked_up=looked_up,
        keys=["customer"],
        key_frame=rows[["customer", "asked"]],
        time="asked",
        offline=history,
        declared={
            "placed_hour": {"cyclic": 24},
            "items": {"min": 1},
            **dict.fromkeys(looked_up, by_customer),
        },
        shifts=shifts,
        base=base,
        estimator=_order_model,
        captured=8000,
    )  # fmt: skip


def _ordered(random: np.random.Generator) -> pd.DataFrame:
    """What a client sends."""
    count = _ORDERS
    minutes = np.sort(random.integers(0, _DAYS * 1440, count))
    placed = pd.Timestamp("2026-03-01") + pd.to_timedelta(minutes, unit="m")
    day = 0.5 * (1 + np.sin((placed.hour.to_numpy() - 14) / 24 * 2 * np.pi + np.pi / 2))
    kept = random.random(count) < 0.15 + 0.85 * day
    rows = pd.DataFrame({"placed": placed[kept]})
    count = len(rows)
    countries = ["DE", "FR", "NL", "SE", "NO", "FI", "DK", "PL", "IT", "ES", "AT", "CH"]
    weights = 1 / np.arange(1, 13)
    rows["country"] = random.choice(countries, count, p=weights / weights.sum())
    rows["channel"] = random.choice(["Web", "App", "Phone"], count, p=[0.55, 0.35, 0.1])
    skus = np.array([f"SKU-{each:04d}" for each in range(800)])
    rows["sku"] = skus[np.minimum(random.zipf(1.3, count) - 1, 799)]
    coupons = random.choice(["SPRING10", "WELCOME", "VIP"], count)
    rows["coupon"] = pd.Series(coupons).where(random.random(count) < 0.3, None)
    rows["items"] = 1 + random.poisson(1.4, count)
    rows["amount"] = (rows["items"] * random.lognormal(2.6, 0.9, count)).round(2)
    rows["grams"] = (120 + 90 * rows["items"] * random.gamma(2.0, 4.0, count)).astype(int)
    rows["discount"] = np.where(rows["coupon"].isna(), 0.0, (rows["amount"] * 0.1).round(2))
    age = random.gamma(9.0, 4.6, count).clip(16, 95).round()
    rows["age"] = np.where(random.random(count) < 0.12, np.nan, age)
    rows["placed_hour"] = rows["placed"].dt.hour.astype(int)
    rows["placed_weekday"] = rows["placed"].dt.dayofweek.astype(int) + 1
    rows["gift"] = random.random(count) < 0.2
    who = np.minimum(random.zipf(1.15, count) - 1, _CUSTOMERS - 1)
    rows["customer"] = [f"c{each:07d}" for each in who * 7919 % 9_999_991]
    rows["asked"] = rows["placed"]
    return rows.reset_index(drop=True)


def _history(rows: pd.DataFrame, random: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What was known of each customer at midnight of each day; and beside each order."""
    customers = np.unique(rows["customer"])
    days = pd.date_range("2026-02-20", periods=_DAYS + 12, freq="D")
    shape = (len(customers), len(days))
    start = random.lognormal(5.5, 1.0, (len(customers), 1))
    spent = (start + np.cumsum(random.gamma(0.5, 12.0, shape), axis=1)).round(2)
    rating = 3.6 + random.normal(0, 0.7, (len(customers), 1)) + 0.3 * random.normal(0, 1, shape)
    rating = rating.clip(1, 5).round(1)
    rating[random.random(len(customers)) < 0.25] = np.nan
    segment = np.array(["new", "usual", "loyal"], dtype=object)[np.digitize(spent, [200, 800])]
    history = pd.DataFrame(
        {
            "customer": np.repeat(customers, len(days)),
            "asked": np.tile(days.to_numpy(), len(customers)),
            "spent": spent.ravel(),
            "rating": rating.ravel(),
            "segment": segment.ravel(),
        }
    )
    who = np.searchsorted(customers, rows["customer"].to_numpy())
    when = (rows["placed"].dt.normalize() - days[0]).dt.days.to_numpy()
    truth = pd.DataFrame(
        {
            "spent": spent[who, when],
            "rating": rating[who, when],
            "segment": segment[who, when],
        }
    )
    return history, truth


def _order_model(kind: str) -> Any:
    words = ["country", "channel", "sku", "coupon", "segment"]
    numbers = ["amount", "items", "grams", "discount", "age", "placed_hour", "placed_weekday",
               "spent", "rating"]  # fmt: skip
    filled = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    if kind == "linear":
        one_hot = OneHotEncoder(handle_unknown="ignore", max_categories=40)
        return make_pipeline(
            make_column_transformer((filled, numbers), (one_hot, words), sparse_threshold=0),
            LogisticRegression(max_iter=200),
        )
    codes = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2
    )
    return make_pipeline(
        make_column_transformer((codes, words), ("passthrough", numbers)),
        xgboost.XGBClassifier(n_estimators=40, max_depth=4, random_state=1, n_jobs=1),
    )
