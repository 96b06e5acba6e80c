"""Machines' readings for the diagnosis matrix, with the cycle of a day, and wines of a few rows.

Readings are made up: four plants are four callers, warm by day and each warm in its own way. Wines
are scikit-learn's, served with no more than the contract that a signature gives.
"""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC

from bench.diagnosis_data import Study

__all__ = ["few_wines", "readings", "wines"]

_READ, _MACHINES = 80_000, 40
_PLANTS = np.array(["web", "app", "partner", "batch"], dtype=object)
_NUMBERS = [
    "temperature", "pressure", "rpm", "load", "vibration", "current", "humidity", "wind_from",
    "hour", "uptime_s",
]  # fmt: skip
_WINES = 24_000


def readings() -> Study:
    """Does a machine run well, is it worn, or faulty?"""
    random = np.random.default_rng(29)
    rows, plant, day = _read(random)
    worn = (
        1.6 * np.log(rows["vibration"])
        + 0.02 * rows["load"]
        + 0.03 * (rows["temperature"] - 10)
        + 0.6 * (rows["firmware"] == "3.1")
        + random.normal(0, 0.8, len(rows))
    ).to_numpy()
    base = (day < 180) & (rows["firmware"] != "4.0").to_numpy()
    labels = np.digitize(worn, np.quantile(worn[base], [0.6, 0.88]))
    some, hour = random.random(len(rows)), rows["hour"].to_numpy()
    shifts = {
        "summer": (day >= 180) & (day < 260) & (rows["firmware"] != "4.0").to_numpy(),
        "a new firmware": (rows["firmware"] == "4.0").to_numpy() | (base & (some < 0.2)),
        "one plant": base & (plant == "app"),
        "another mix of plants": base & ((plant == "partner") | (some < 0.3)),
        "by night": base & ((hour < 6) | (hour > 21)),
        "full load": base & (rows["load"] > 60).to_numpy(),
        "idle": base & ((rows["mode"] == "idle").to_numpy() | (some < 0.15)),
        "worn": base & ((labels > 0) | (some < 0.2)),
        "hot": base & (rows["temperature"] > 15).to_numpy(),
    }
    return Study(
        name="readings",
        frame=rows,
        labels=labels,
        words=["machine", "mode", "firmware"],
        numbers=_NUMBERS,
        shifts=shifts,
        base=base,
        estimator=_machine_model,
        captured=4000,
        callers=plant,
        hours=hour,
        kinds=("neural net", "support vectors"),
        sizes=(1000, 3000, 6000, 20_000, 300),
    )


def _read(random: np.random.Generator) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    count = _READ
    machine = random.integers(0, _MACHINES, count)
    plant, day, hour = machine % 4, random.integers(0, 300, count), random.integers(0, 24, count)
    # Two plants rest at night.
    rests = (plant < 2) & ((hour < 6) | (hour > 20))
    mode = np.where(
        rests & (random.random(count) < 0.8), 0, random.choice(3, count, p=[0.1, 0.7, 0.2])
    )
    sun = -np.cos((hour - 2) / 24 * 2 * np.pi)
    season = -np.cos(day / 365 * 2 * np.pi)
    warm = np.array([2.0, 5.0, 8.0, 0.0])[plant]
    temperature = 6 + warm + 7 * season + 4 * sun + random.normal(0, 2.0, count)
    load = np.where(mode == 0, 0, random.normal(np.array([0, 50, 80])[mode], 12)).clip(0, 100)
    rpm = np.where(mode == 0, 0, 900 + 12 * load + random.normal(0, 40, count)).astype(int)
    vibration = random.lognormal(-1.2 + 0.006 * load + 0.02 * (machine % 7), 0.4)
    humid = (80 - 1.2 * temperature + random.normal(0, 8, count)).clip(5, 100)
    late, new = day > 200, random.choice(["3.2", "4.0"], count)
    old = random.choice(["3.1", "3.2"], count)
    rows = pd.DataFrame(
        {
            "machine": [f"M{each:02d}" for each in machine],
            "mode": np.array(["idle", "run", "boost"], dtype=object)[mode],
            "firmware": np.where(late, new, old),
            "temperature": temperature.round(1),
            "pressure": (1013 + random.normal(0, 9, count) - 0.3 * temperature).round(1),
            "rpm": rpm,
            "load": load.astype(int),
            "vibration": vibration.round(4),
            "current": (0.4 + 0.11 * load + random.normal(0, 0.4, count)).clip(0).round(2),
            "humidity": np.where(random.random(count) < 0.08, np.nan, humid.round()),
            "wind_from": (random.normal(240, 60, count) % 360).astype(int),
            "hour": hour,
            "uptime_s": random.gamma(1.3, 250_000.0, count).astype(int),
            "door": random.random(count) < 0.04,
        }
    )  # fmt: skip
    return rows, _PLANTS[plant], day


def _machine_model(kind: str) -> Any:
    prepared = make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), _NUMBERS),
        (OneHotEncoder(handle_unknown="ignore"), ["machine", "mode", "firmware"]),
        sparse_threshold=0,
    )
    if kind == "neural net":
        return make_pipeline(
            prepared, MLPClassifier((24,), max_iter=60, early_stopping=True, random_state=1)
        )
    return make_pipeline(prepared, SVC(probability=True, random_state=1))


def wines() -> Study:
    """Which of three vines? 178 wines made many; nothing but a signature says what is served."""
    return _wines("wines", derived=True, captured=2000)


def few_wines() -> Study:
    """The same with a contract that was captured on 600 rows: few to compare by, and enough."""
    return _wines("few wines", derived=False, captured=600)


def _wines(name: str, *, derived: bool, captured: int) -> Study:
    data = load_wine(as_frame=True)
    frame, labels = data.data, data.target.to_numpy()
    random = np.random.default_rng(31)
    first = random.integers(0, len(frame), _WINES)
    other = np.array([random.choice(np.flatnonzero(labels == labels[at])) for at in first])
    part = random.random((_WINES, 1)) * 0.5
    values = frame.to_numpy()[first] * (1 - part) + frame.to_numpy()[other] * part
    rows = pd.DataFrame(values, columns=[each.replace("/", " ") for each in frame.columns])
    rows["proline"] = rows["proline"].round().astype(int)
    for each in rows.columns:
        rows[each] = rows[each].round(2) if each != "proline" else rows[each]
    return Study(
        name=name,
        frame=rows,
        labels=labels[first],
        words=[],
        numbers=[str(each) for each in rows.columns],
        shifts={
            "one vine": labels[first] == 1,
            "strong": (rows["alcohol"] > 13.2).to_numpy(),
        },
        base=np.ones(_WINES, dtype=bool),
        estimator=_wine_model,
        captured=captured,
        derived=derived,
        kinds=("neighbours", "forest"),
        sizes=(1000, 5000, 300),
    )


def _wine_model(kind: str) -> Any:
    if kind == "neighbours":
        return make_pipeline(StandardScaler(), KNeighborsClassifier(7))
    return make_pipeline(StandardScaler(), RandomForestClassifier(30, random_state=1, n_jobs=1))
