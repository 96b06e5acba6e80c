"""Faults of rows that influence one another, and of readers that make the best of wrong requests.

The numbers are those of the catalogue of faults that verification is measured by.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

from serinus.contract import capture
from serinus.entities import Reading
from serinus.parity.folder import Bundle
from serinus.parity.gates.golden import Replay, replay
from serinus.parity.gates.probes import probes_gate
from serinus.parity.gates.sheet import as_sent
from serinus.parity.verification import Gate, GateResult, Result
from serinus.replica.loaded import Model
from tests.integration.parity.faulty import (
    gate,
    lenient,
    one_failure,
    proved,
    quiet,
)
from tests.wires import ScorerWire

# --- rows that influence one another ------------------------------------------------------------


def codes(frame: Any) -> Any:
    return frame.assign(kind=frame["kind"].astype("category").cat.codes)


def ranks(frame: Any) -> Any:
    return frame[["x"]].rank(pct=True).fillna(0.0)


def bins(frame: Any) -> Any:
    binned = pd.qcut(frame["x"], 4, labels=False, duplicates="drop") if len(frame) > 1 else 0.0
    return frame[["x"]].assign(x=binned).fillna(0.0)


def filled(frame: Any) -> Any:
    return frame[["x"]].fillna(frame["x"].mean()).fillna(0.0)


@pytest.mark.parametrize(
    "together",
    [codes, ranks, bins, filled],
    ids=["61 category codes", "62 rank", "62 qcut", "62 fillna(mean)"],
)
def test_rows_that_influence_one_another(together: Any, tmp_path: Path) -> None:
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    from tests.models import save_sklearn

    random = np.random.default_rng(5)
    frame = pd.DataFrame({"kind": random.choice(["a", "b", "c"], 80), "x": random.normal(5, 2, 80)})
    frame.loc[frame.index % 5 == 2, "x"] = np.nan if together is filled else 1.0
    target = np.arange(80.0)
    if together is codes:
        frame["x"] = random.normal(5, 2, 80)
    model = make_pipeline(FunctionTransformer(together), LinearRegression()).fit(frame, target)
    path = save_sklearn(tmp_path / "together", model, frame)
    bundle = capture(model, frame, target, into=path, golden=64, say=quiet)
    report, wire = proved(path, bundle, at_once=16)
    found = one_failure(report, "path_identity", "preprocessing.batch", "S3")
    assert "influence one another" in found.detail
    assert gate(report, "golden_replay").result is GateResult.PASS
    assert not wire.proof.batched
    assert any(note.startswith("The model is served unbatched: ") for note in report.notes)


def test_a_null_that_the_example_has_not_is_in_the_golden_rows(tmp_path: Path) -> None:
    """The input example alone would have let this model into batches."""
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    from tests.models import save_sklearn

    frame = pd.DataFrame({"x": np.arange(80.0), "y": 1.0})
    frame.loc[frame.index % 9 == 8, "x"] = np.nan
    model = make_pipeline(FunctionTransformer(filled), LinearRegression())
    model.fit(frame, np.arange(80.0))
    path = save_sklearn(tmp_path / "rare", model, frame)
    assert ScorerWire(path).proof.batched
    capture(model, frame, into=path, say=quiet)
    proof = ScorerWire(path).proof
    assert not proof.batched
    assert "golden rows together and alone differ" in proof.reason


# --- requests that are wrong --------------------------------------------------------------------


def each_value(turn: Callable[[str, Any], Any]) -> Callable[[dict[str, Any]], None]:
    return lambda row: row.update({name: turn(name, value) for name, value in row.items()})


def told_as_time(name: str, value: Any) -> Any:
    if name != "scheduled" or not isinstance(value, int) or isinstance(value, bool):
        return value
    return pd.Timestamp(value, unit="ms" if value > 10**11 else "s").isoformat()


def read_as(kind: type, fields: tuple[str, ...], found: type) -> Callable[[dict[str, Any]], None]:
    """``found`` in one of the fields becomes ``kind``."""

    def turn(name: str, value: Any) -> Any:
        if name not in fields or type(value) is not found:
            return value
        return kind(str(value).replace(",", ".") if kind is float else value)

    return each_value(turn)


READINGS: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "7 missing column": (
        lambda row: row.setdefault("distance", 0.0),
        "a request without 'distance'",
    ),
    "8 whole number as text": (read_as(int, ("hour",), str), "\"7\" for the int 'hour'"),
    "9 decimal comma": (
        read_as(float, ("distance",), str),
        "\"502,0\" for the number 'distance'",
    ),
    "13 codes instead of labels": (read_as(str, ("carrier",), int), "3 for the text 'carrier'"),
    "55 duplicate key": (lambda row: None, "a row that names 'dep_delay' twice"),
    "56 text for a boolean": (read_as(bool, ("weekend",), str), "\"false\" for the bool 'weekend'"),
    "58 seconds and milliseconds since 1970": (
        each_value(told_as_time),
        "1356998400 for the datetime 'scheduled'",
    ),
    "69 whole number through a double": (
        each_value(lambda name, value: int(float(value)) if name == "hour" else value),
        "9007199254740993 for 'hour' arrives as 9007199254740992",
    ),
}


@pytest.mark.parametrize("name", READINGS)
def test_a_lenient_reader_is_found_out(name: str, flights_model: tuple[Path, Bundle]) -> None:
    path, bundle = flights_model
    turn, told = READINGS[name]
    few = dataclasses.replace(bundle, golden=bundle.golden[:4])
    asked = [as_sent(row) for row in few.golden]
    results = []
    for change in (lambda model: None, lenient(turn)):
        wire = ScorerWire(path, change=change, at_once=1)
        seen = Replay(Gate(name="", result=GateResult.PASS), requests=asked)
        seen.answers = wire.ask_many(asked)
        results.append(probes_gate(few, wire, wire.running(), seen))
    strict, found = results
    assert strict.result is GateResult.PASS, strict.detail
    assert (found.result, found.fault, found.stage) == (GateResult.FAIL, "schema.structure", "S1")
    assert told in found.detail


def test_69_a_whole_number_that_a_double_can_not_hold(tmp_path: Path) -> None:
    """Ids beyond 2^53 in training are golden rows: a process that rounds them is seen at S1."""
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    from tests.models import save_sklearn

    frame = pd.DataFrame({"id": 2**60 + np.arange(60) * 2 + 1, "x": np.arange(60.0)})
    model = make_pipeline(FunctionTransformer(last_digit), LinearRegression())
    model.fit(frame, frame["id"] % 10)
    path = save_sklearn(tmp_path / "ids", model, frame)
    bundle = capture(model, frame, into=path, golden=32, say=quiet)

    wire = ScorerWire(path, at_once=1)
    assert replay(bundle, wire, wire.running()).gate.result is GateResult.PASS
    rounded = lenient(each_value(lambda name, v: int(float(v)) if name == "id" else v))
    wire = ScorerWire(path, at_once=1, change=rounded)
    found = replay(bundle, wire, wire.running())
    assert (found.stage, found.gate.fault) == ("S1", "preprocessing.parse"), found.gate.detail
    assert "column 'id'" in found.gate.detail


def last_digit(frame: Any) -> Any:
    return frame.assign(id=(frame["id"] % 10).astype(float))


def none_or_nan(frame: Any) -> Any:
    """A transform to which the two kinds of a missing text are not the same."""
    codes = [0.0 if each is None else 1.0 if each != each else 2.0 for each in frame["kind"]]
    return pd.DataFrame({"kind": codes, "x": frame["x"].to_numpy()})


def by_inference(model: Model) -> None:
    """Frames as pandas guesses them of rows: a lone null is a None, one beside texts a NaN."""

    def frame(units: Any) -> Any:
        names = [column.name for column in units[0].data.layout.columns]
        return pd.DataFrame([row for unit in units for row in unit.data.cells], columns=names)

    model.intake.frame = frame  # type: ignore[attr-defined]


def test_68_a_null_text_alone(tmp_path: Path) -> None:
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    from tests.models import save_sklearn

    frame = pd.DataFrame({"kind": ["a", "b", None, "c"] * 20, "x": np.arange(80.0)})
    target = frame["x"] + frame["kind"].isna() * 100.0
    model = make_pipeline(FunctionTransformer(none_or_nan), LinearRegression()).fit(frame, target)
    path = save_sklearn(tmp_path / "nulls", model, frame)
    bundle = capture(model, frame, target, into=path, golden=32, say=quiet)

    assert proved(path, bundle)[0].result is Result.PASS
    report, _ = proved(path, bundle, change=by_inference)
    found = one_failure(report, "path_identity", "preprocessing.parse", "S3")
    assert "Only rows with a null text differ" in found.detail


def test_68_a_null_text_alone_that_becomes_a_word(flights_model: tuple[Path, Bundle]) -> None:
    path, bundle = flights_model
    change = lenient(lambda row: row.update(carrier=str(row["carrier"])))
    wire = ScorerWire(path, change=change, at_once=1)
    found = replay(bundle, wire, wire.running())
    assert (found.stage, found.gate.fault) == ("S1", "preprocessing.parse")
    assert "column 'carrier': expected null, got \"None\"" in found.gate.detail
    assert "Only rows with a null in 'carrier' differ." in found.gate.detail


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_requests_that_are_read_as_mlflow_reads_them(flights_model: tuple[Path, Bundle]) -> None:
    """7 to 9, 13, 55, 56, 58: what MLflow turns into something else, a strict reader refuses."""
    path, bundle = flights_model
    wire = ScorerWire(path, intake=Reading.MLFLOW, at_once=1)
    said = wire.running()
    asked = [as_sent(row) for row in bundle.golden[:4]]
    few = Replay(
        Gate(name="golden_replay", result=GateResult.PASS),
        requests=asked,
        answers=wire.ask_many(asked),
    )
    # Such a replica says what it does; one that doesn't is found out.
    assert probes_gate(bundle, wire, said, few).result is GateResult.SKIPPED
    found = probes_gate(bundle, wire, msgspec.structs.replace(said, strict=True), few)
    assert (found.result, found.fault, found.stage) == (
        GateResult.FAIL,
        "schema.structure",
        "S1",
    )
    assert "\"false\" for the bool 'weekend' is answered" in found.detail
