"""Faults that are injected into what really serves, and words for what the gates must say of them.

Each change is to a loaded model or to its reader; the model's files stay right.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from serinus.parity.folder import Bundle
from serinus.parity.verification import Gate, Result, Verification
from serinus.parity.verify import verify
from serinus.replica.loaded import Model
from tests.wires import DIGEST, ScorerWire

Change = Callable[[Model], None]


def quiet(line: str) -> None:
    """Nobody reads it here."""


def gate(report: Verification, name: str) -> Gate:
    return next(each for each in report.gates if each.name == name)


def proved(path: Path, bundle: Bundle, **more: Any) -> tuple[Verification, ScorerWire]:
    wire = ScorerWire(path, **{"at_once": 1, **more})
    return verify(bundle, wire, wire.running(), intended=DIGEST), wire


def one_failure(report: Verification, name: str, fault: str, stage: str) -> Gate:
    assert report.failed is not None
    found = report.failed
    assert (found.name, found.fault, found.stage) == (name, fault, stage), found.detail
    assert report.result is Result.FAIL
    return found


def cells(turn: Callable[[dict[str, Any]], dict[str, Any]]) -> Change:
    """The endpoint's parse step alters what came."""

    def change(model: Model) -> None:
        parse = model.intake.parse

        def altered(body: bytes, format_: Any) -> Any:
            unit = parse(body, format_)
            names = [column.name for column in unit.data.layout.columns]
            rows = [turn(dict(zip(names, row, strict=True))) for row in unit.data.cells]
            unit.data.cells = [tuple(row[name] for name in names) for row in rows]
            unit.data.columns = None
            return unit

        model.intake.parse = altered  # type: ignore[method-assign]

    return change


def number(name: str, turn: Callable[[float], float]) -> Change:
    return cells(lambda row: {**row, name: None if row[name] is None else turn(row[name])})


def part(reach: Callable[[Any], Any], alter: Callable[[Any], None]) -> Change:
    return lambda model: alter(reach(model.loaded))


def scaler(pipeline: Any) -> Any:
    return pipeline[0].named_transformers_["numbers"][-1]


def imputer(pipeline: Any) -> Any:
    return pipeline[0].named_transformers_["numbers"][0]


def encoder(pipeline: Any) -> Any:
    return pipeline[0].named_transformers_["words"]


def final(pipeline: Any) -> Any:
    return pipeline[-1]


def set_to(name: str, value: Callable[[Any], Any]) -> Callable[[Any], None]:
    return lambda each: setattr(each, name, value(getattr(each, name)))


def through(dtype: str) -> Callable[[Any], None]:
    """The vector goes through another type on its way."""

    def alter(each: Any) -> None:
        transform = each.transform
        each.transform = lambda frame: transform(frame).astype(dtype)

    return alter


def turned(row: dict[str, Any]) -> dict[str, Any]:
    """Day and month of a date change places, as another locale reads them."""
    year, month, rest = str(row["scheduled"])[:4], str(row["scheduled"])[5:7], row["scheduled"][8:]
    day = min(int(rest[:2]), 12)
    return {**row, "scheduled": f"{year}-{day:02d}-{month}{rest[2:]}"}


class OtherWay:
    """Answers the probabilities of the classes the other way round."""

    def predict_proba(self, frame: Any) -> Any:
        return super().predict_proba(frame)[:, ::-1]  # type: ignore[misc]


def as_a(kind: type) -> Callable[[Any], None]:
    """The part behaves as that class does, and has learned what it had."""

    def alter(each: Any) -> None:
        own = type(each)
        each.__class__ = type(own.__name__, (kind, own), {"__module__": own.__module__})

    return alter


other_way = as_a(OtherWay)


def misaligned(model: Model) -> None:
    predict = model.predict
    model.predict = lambda data, params: np.roll(predict(data, params), 1)


def cached(each: Any) -> None:
    """A cache of vectors whose key forgets most of the row: who comes second gets the first's."""
    transform = each.transform
    kept: dict[Any, Any] = {}

    def through_cache(frame: Any) -> Any:
        vectors = np.asarray(transform(frame))
        keys = list(zip(frame["carrier"].astype(str), frame["origin"], strict=True))
        return np.stack([kept.setdefault(*pair) for pair in zip(keys, vectors, strict=True)])

    each.transform = through_cache


def wobbling(size: float) -> Callable[[Any], None]:
    """Scores come out a little otherwise each time, as threads that add in any order make them."""
    random = np.random.default_rng(5)

    class Wobbling:
        def predict_proba(self, frame: Any) -> Any:
            noise = 1 + size * random.standard_normal((len(frame), 1))
            return super().predict_proba(frame) * noise  # type: ignore[misc]

    return as_a(Wobbling)


FAULTS: dict[str, tuple[Change, str, str]] = {
    "15 Fahrenheit to Celsius": (
        number("dep_delay", lambda value: (value - 32) / 1.8),
        "S1",
        "preprocessing.parse",
    ),
    "23 clipping": (number("distance", lambda v: min(v, 1000.0)), "S1", "preprocessing.parse"),
    "11 columns swapped": (
        cells(lambda row: {**row, "carrier": row["origin"], "origin": row["carrier"]}),
        "S1",
        "preprocessing.parse",
    ),
    "57 day and month": (cells(turned), "S1", "preprocessing.parse"),
    "68 null becomes zero": (
        cells(lambda row: {**row, "dep_delay": row["dep_delay"] or 0.0}),
        "S1",
        "preprocessing.parse",
    ),
    "16 scaler fitted again": (
        part(scaler, set_to("mean_", lambda mean: mean + 1.0)),
        "S3",
        "preprocessing.transform",
    ),
    "17 order of one-hot columns": (
        part(encoder, set_to("categories_", lambda all_: [each[::-1] for each in all_])),
        "S3",
        "preprocessing.transform",
    ),
    "18 nulls filled with zero": (
        part(imputer, set_to("statistics_", np.zeros_like)),
        "S3",
        "preprocessing.transform",
    ),
    "19 half precision": (
        part(lambda pipeline: pipeline[0], through("float16")),
        "S3",
        "preprocessing.transform",
    ),
    "22 class order": (part(final, other_way), "S4", "model.bug"),
    "37 coefficient gone in memory": (
        part(final, set_to("coef_", np.zeros_like)),
        "S4",
        "model.artefact",
    ),
    "66 another row's vector from a cache": (
        part(lambda pipeline: pipeline[0], cached),
        "S3",
        "preprocessing.transform",
    ),
    "67 threads that disagree": (part(final, wobbling(1e-4)), "S4", "environment"),
    "67 scores drawn at random": (part(final, wobbling(1e-1)), "S4", "model.bug"),
    "70 answers misaligned": (misaligned, "answer", "model.bug"),
}


def lenient(turn: Callable[[dict[str, Any]], None]) -> Change:
    """An endpoint that reads JSON with any library and makes the best of what it finds."""

    def change(model: Model) -> None:
        parse = model.intake.parse

        def altered(body: bytes, format_: Any) -> Any:
            try:
                document = json.loads(body)
            except ValueError:
                return parse(body, format_)
            rows = document.get("dataframe_records")
            if "dataframe_split" in document:
                sheet = document["dataframe_split"]
                rows = [dict(zip(sheet["columns"], row, strict=True)) for row in sheet["data"]]
            for row in rows or ():
                turn(row)
            return parse(json.dumps({"dataframe_records": rows}).encode(), format_)

        model.intake.parse = altered  # type: ignore[method-assign]

    return change
