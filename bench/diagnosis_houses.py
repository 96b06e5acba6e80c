"""House prices for the diagnosis matrix, where each caller has traffic and hours of its own.

All of it is made up. Flats come from an app in the evening, houses from a bank at night; there is a
free text beside each. A rule that takes callers or hours to be alike will accuse one of them.
"""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import ElasticNet
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, TargetEncoder

from bench.diagnosis_data import Study

__all__ = ["houses"]

_LISTED, _DISTRICTS = 90_000, 70
_CALLERS = np.array(["web", "app", "partner", "batch"], dtype=object)
#: Share of flats, houses and studios, and the hour of most requests, by caller.
_KINDS = np.array(["flat", "house", "studio"], dtype=object)
_MIX = np.array([[0.5, 0.4, 0.1], [0.65, 0.1, 0.25], [0.45, 0.5, 0.05], [0.2, 0.8, 0.0]])
_BUSY = np.array([14.0, 20.0, 10.0, 3.0])
_WORDS = """
sunny quiet bright renovated spacious central garden balcony terrace cellar parquet
fireplace view park school station modern old charming compact family luxury simple open
kitchen bath heating insulated solar garage attic loft corner south north west east lake
river forest city
"""
_NUMBERS = ["area", "rooms", "year", "floor", "plot", "energy", "centre_km"]


def houses() -> Study:
    """What will a house be sold for?"""
    random = np.random.default_rng(23)
    rows, caller, hours = _listed(random)
    price = _price(rows, random)
    day = rows["listed"].dt.dayofyear.to_numpy()
    known = (rows["district"] != "Neustadt").to_numpy()
    base = known & (day <= 200)
    some = random.random(len(rows))
    early = np.quantile(price[base], 0.7)
    shifts = {
        "summer": known & (day > 200) & ((rows["plot"] > 0).to_numpy() | (some < 0.4)),
        "a new district": (rows["district"] == "Neustadt").to_numpy() | (base & (some < 0.1)),
        "the app grows": base & ((caller == "app") | (some < 0.25)),
        "the bank grows": base & ((caller == "batch") | (some < 0.2)),
        "only houses": base & (rows["kind"] == "house").to_numpy(),
        "new buildings": base & (rows["year"] >= 2005).to_numpy(),
        "out of town": base & (rows["centre_km"] > 8).to_numpy(),
        "dear ones": base & ((price > early) | (some < 0.3)),
        "small ones": base & (rows["area"] < 60).to_numpy(),
    }
    return Study(
        name="houses",
        frame=rows,
        labels=price,
        words=["district", "kind"],
        numbers=_NUMBERS,
        shifts=shifts,
        base=base,
        estimator=_model,
        predict="predict",
        captured=8000,
        callers=caller,
        hours=hours,
        kinds=("elastic net", "gradient boosting"),
        sizes=(1000, 3000, 6000, 20_000, 300),
    )


def _listed(random: np.random.Generator) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """What clients send, who each row is of, and its hour."""
    count = _LISTED
    who = random.choice(4, count, p=[0.4, 0.25, 0.2, 0.15])
    spread = np.array([4.0, 3.0, 2.5, 1.0])[who]
    hours = np.round(random.normal(_BUSY[who], spread)).astype(int) % 24
    kind = (random.random((count, 1)) > np.cumsum(_MIX[who], axis=1)).sum(axis=1).clip(0, 2)
    day = random.integers(0, 364, count)
    # Houses with gardens are listed in summer.
    warm = 0.5 - 0.5 * np.cos(2 * np.pi * day / 365)
    kind = np.where((kind == 0) & (random.random(count) < 0.35 * warm), 1, kind)
    middle = np.array([4.25, 4.9, 3.4])[kind] + 0.08 * (who == 2)
    area = random.lognormal(middle, np.array([0.3, 0.35, 0.2])[kind]).clip(12, 900).round(1)
    weight = 1 / np.arange(1, _DISTRICTS + 1) ** 0.8
    place = random.choice(_DISTRICTS, count, p=weight / weight.sum())
    names = np.array([f"{a}{b}" for a in _FRONTS for b in _ENDS])
    names[_DISTRICTS - 1] = "Neustadt"
    decade = random.choice([1905, 1928, 1958, 1972, 1988, 2002, 2016], count,
                           p=[0.12, 0.1, 0.2, 0.22, 0.14, 0.12, 0.1])  # fmt: skip
    house = kind == 1
    plot = np.where(house, random.lognormal(6.1, 0.5, count).round(), 0.0).astype(int)
    floor = np.where(house, np.nan, random.poisson(2.2, count).clip(0, 14))
    year = (decade + random.integers(-9, 9, count)).clip(1880, 2024)
    energy = (330 - 2.1 * (year - 1900) + random.normal(0, 35, count)).clip(15, 480).round(1)
    energy = np.where(random.random(count) < 0.15, np.nan, energy)
    centre = (random.gamma(2.0, 2.2, count) + 0.06 * place + 2 * house).round(2)
    listed = pd.Timestamp("2025-01-01") + pd.to_timedelta(day * 24 + hours, unit="h")
    rows = pd.DataFrame(
        {
            "district": names[place],
            "kind": _KINDS[kind],
            "text": _texts(random, house, area),
            "area": area,
            "rooms": (np.round(area / 14) / 2 + random.choice([0.5, 1.0, 1.5], count)).clip(1, 14),
            "year": year,
            "floor": floor,
            "plot": plot,
            "energy": energy,
            "centre_km": centre,
            "lift": (floor > 2) & (random.random(count) < 0.6),
            "listed": listed + pd.to_timedelta(random.integers(0, 60, count), unit="m"),
        }
    )
    return rows, _CALLERS[who], hours


_FRONTS = ("Alt", "Berg", "Eich", "Feld", "Grün", "Hoch", "Kirch", "Linden", "Mühl", "Nord")
_ENDS = ("au", "bach", "dorf", "heim", "stadt", "tal", "wald")


def _texts(random: np.random.Generator, house: np.ndarray, area: np.ndarray) -> list[str]:
    words = np.array(_WORDS.split())
    weight = np.linspace(2.0, 0.5, len(words))
    picked = random.choice(words, (len(house), 9), p=weight / weight.sum())
    length = random.integers(4, 10, len(house))
    return [
        f"{'House' if home else 'Flat'} of {size:.0f} m2, {' '.join(row[:end])}."
        for home, size, row, end in zip(house, area, picked, length, strict=True)
    ]


def _price(rows: pd.DataFrame, random: np.random.Generator) -> np.ndarray:
    level = rows["district"].map({n: i for i, n in enumerate(pd.unique(rows["district"]))})
    log = (
        8.2
        + 0.85 * np.log(rows["area"])
        - 0.004 * level
        - 0.02 * rows["centre_km"]
        + 0.0025 * (rows["year"] - 1950)
        + 0.0002 * rows["plot"]
        + 0.1 * rows["text"].str.contains("luxury")
        + random.normal(0, 0.15, len(rows))
    )
    found: np.ndarray = (np.exp(log.to_numpy()) / 1000).round(1)
    return found


def _model(kind: str) -> Any:
    filled = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    folds = KFold(5, shuffle=True, random_state=1)
    prepared = make_column_transformer(
        (TargetEncoder(target_type="continuous", cv=folds), ["district", "kind"]),
        (filled, _NUMBERS),
        (TfidfVectorizer(max_features=60), "text"),
        sparse_threshold=0,
    )
    if kind == "elastic net":
        return make_pipeline(prepared, ElasticNet(alpha=0.1))
    return make_pipeline(prepared, GradientBoostingRegressor(n_estimators=60, random_state=1))
