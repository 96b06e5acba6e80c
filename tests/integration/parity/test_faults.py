"""Faults of a serving process, each injected into what really serves, and the gate that sees it.

The numbers are those of the catalogue of faults that verification is measured by. The model's files
stay right unless a fault is one of files; so nothing but the gates can tell.
"""

import os
import pickle
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import msgspec
import numpy as np
import pandas as pd
import pytest

from serinus.contract import capture, read_bundle
from serinus.entities import Reading
from serinus.errors import SerinusError
from serinus.parity.derived import derive
from serinus.parity.folder import Bundle, ContractForeign
from serinus.parity.gates.golden import Replay, replay
from serinus.parity.gates.probes import probes_gate
from serinus.parity.gates.sheet import as_sent
from serinus.parity.verification import Gate, GateResult, Result, Verification
from serinus.parity.verify import GATES, verify
from serinus.parity.wire import Answer, Running, WireLost
from serinus.replica.model import Model
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


@pytest.fixture(scope="module")
def flights_model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Bundle]:
    """A pipeline with everything in it, saved and captured."""
    from tests.models import flights, late, saved

    path = Path(shutil.copytree(saved("flights-1"), tmp_path_factory.mktemp("faults") / "flights"))
    frame = flights(400)
    pipeline = pickle.loads((path / "model.pkl").read_bytes())  # noqa: S301 - our own
    return path, capture(pipeline, frame, late(frame), into=path, golden=64, say=quiet)


# --- what the process does to a right request: golden rows, by stage ---------------------------


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


def other_way(each: Any) -> None:
    kind = type(each)
    each.__class__ = type(kind.__name__, (OtherWay, kind), {"__module__": kind.__module__})


def misaligned(model: Model) -> None:
    predict = model.predict
    model.predict = lambda data, params: np.roll(predict(data, params), 1)


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
    "70 answers misaligned": (misaligned, "answer", "model.bug"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_the_first_stage_that_differs_names_the_class(
    name: str, flights_model: tuple[Path, Bundle]
) -> None:
    path, bundle = flights_model
    change, stage, fault = FAULTS[name]
    wire = ScorerWire(path, change=change, at_once=1)
    found = replay(bundle, wire, wire.running())
    assert (found.gate.result, found.gate.stage, found.gate.fault) == (
        GateResult.FAIL,
        stage,
        fault,
    ), found.gate.detail
    assert found.stage == stage
    assert "expected" in found.gate.detail


def test_the_report_says_which_rows_and_which_part(flights_model: tuple[Path, Bundle]) -> None:
    path, bundle = flights_model
    wire = ScorerWire(path, change=FAULTS["18 nulls filled with zero"][0], at_once=1)
    found = replay(bundle, wire, wire.running())
    assert "Only rows with a null in 'dep_delay' differ." in found.gate.detail
    assert "simpleimputer/1 are not those of training" in found.gate.detail
    nulls = int(np.isnan(bundle.stages["S1"][0]).sum())
    assert f"on {nulls} of {len(bundle.golden)} golden rows" in found.gate.detail


def test_20_single_precision_is_let_through(flights_model: tuple[Path, Bundle]) -> None:
    path, bundle = flights_model

    def narrow(model: Model) -> None:
        number("distance", lambda value: float(np.float32(value)))(model)
        through("float32")(model.loaded[0])

    report, _ = proved(path, bundle, change=narrow, at_once=16)
    assert report.result is Result.PASS, report.failed
    assert "Numbers arrive in single precision; the answers stand it." in report.notes


def test_a_few_rows_at_once_find_the_same(flights_model: tuple[Path, Bundle]) -> None:
    path, bundle = flights_model
    for change, result in (
        (FAULTS["18 nulls filled with zero"][0], GateResult.FAIL),
        (lambda model: None, GateResult.PASS),
    ):
        wire = ScorerWire(path, change=change, at_once=1)
        found = replay(bundle, wire, wire.running(), at_once=16)
        assert found.gate.result is result, found.gate.detail
        assert len(found.compared[0].rows) == len(bundle.golden)


def test_63_the_time_zone_of_the_server(tmp_path: Path) -> None:
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    from tests.models import local_hour, save_sklearn

    frame = pd.DataFrame({"hour": np.arange(1.0, 61.0), "x": np.sin(np.arange(60.0))})
    model = make_pipeline(FunctionTransformer(local_hour), LinearRegression()).fit(
        frame, frame["hour"]
    )
    path = save_sklearn(tmp_path / "clock", model, frame)
    before = os.environ.get("TZ")
    try:
        os.environ["TZ"] = "UTC"
        time.tzset()
        bundle = capture(model, frame, frame["hour"], into=path, say=quiet)
        assert proved(path, bundle)[0].result is Result.PASS
        os.environ["TZ"] = "Asia/Tokyo"
        time.tzset()
        report, _ = proved(path, bundle)
    finally:
        os.environ.pop("TZ") if before is None else os.environ.update(TZ=before)
        time.tzset()
    found = one_failure(report, "golden_replay", "preprocessing.transform", "S3")
    assert "The time zone is JST; at training it was UTC." in found.detail


# --- decisions, texts, arrays: models of other kinds -------------------------------------------


def test_21_another_threshold(tmp_path: Path) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import FixedThresholdClassifier

    from tests.models import iris, save_sklearn

    frame = iris(200)
    target = (frame["mean 3"] > 1).astype(int)
    inner = LogisticRegression(C=0.001)
    model = FixedThresholdClassifier(inner, threshold=0.2, response_method="predict_proba")
    model.fit(frame, target)
    path = save_sklearn(tmp_path / "threshold", model, frame)
    bundle = capture(model, frame, target, into=path, golden=64, say=quiet)
    assert proved(path, bundle)[0].result is Result.PASS

    report, _ = proved(path, bundle, change=lambda m: m.loaded.set_params(threshold=0.5))
    one_failure(report, "golden_replay", "preprocessing.decision", "S5")


def test_59_another_way_to_read_texts(tmp_path: Path) -> None:
    from sklearn.compose import ColumnTransformer
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    from tests.models import save_sklearn

    texts = ["Late Again", "on time", "LATE", "early bird", "so Late", "time flies"] * 10
    frame = pd.DataFrame({"text": texts})
    target = np.array(["ate" in each.lower() for each in texts])
    words = ColumnTransformer([("words", CountVectorizer(), "text")])
    model = make_pipeline(words, LogisticRegression()).fit(frame, target)
    path = save_sklearn(tmp_path / "texts", model, frame)
    bundle = capture(model, frame, target, into=path, say=quiet)

    def reach(pipeline: Any) -> Any:
        return pipeline[0].named_transformers_["words"]

    def swapped(vocabulary: dict[str, int]) -> dict[str, int]:
        return {word: len(vocabulary) - 1 - at for word, at in vocabulary.items()}

    for alter in (set_to("lowercase", lambda _: False), set_to("vocabulary_", swapped)):
        wire = ScorerWire(path, change=part(reach, alter), at_once=1)
        found = replay(bundle, wire, wire.running())
        assert (found.stage, found.gate.fault) == ("S3", "preprocessing.transform")


def test_60_another_scale_in_a_stage_that_the_author_named(tmp_path: Path) -> None:
    from tests.models import Scaled, save_pyfunc

    frame = pd.DataFrame({"red": np.arange(0.0, 240.0, 4), "green": np.arange(60.0)[::-1]})
    path = save_pyfunc(tmp_path / "pixels", Scaled(255.0), frame)
    bundle = capture(Scaled(255.0), frame, into=path, stages={"S3": "vector"}, golden=64, say=quiet)

    def rescaled(model: Model) -> None:
        model.loaded.unwrap_python_model().by = 1.0

    wire = ScorerWire(path, at_once=1)
    assert replay(bundle, wire, wire.running()).gate.result is GateResult.PASS
    wire = ScorerWire(path, change=rescaled, at_once=1)
    found = replay(bundle, wire, wire.running())
    assert (found.stage, found.gate.fault) == ("S3", "preprocessing.transform")


def test_a_model_that_shows_no_stage_is_judged_by_its_answer(tmp_path: Path) -> None:
    from tests.models import Scaled, save_pyfunc

    frame = pd.DataFrame({"red": np.arange(0.0, 240.0, 4), "green": np.arange(60.0)[::-1]})
    path = save_pyfunc(tmp_path / "pixels", Scaled(255.0), frame)
    model = Scaled(255.0)
    bundle = capture(model, frame, into=path, stages={"S3": model.vector}, golden=64, say=quiet)

    def doubled(model: Model) -> None:
        predict = model.predict
        model.predict = lambda data, params: 2 * predict(data, params)

    wire = ScorerWire(path, change=doubled, at_once=1)
    found = replay(bundle, wire, wire.running())
    assert (found.stage, found.gate.fault) == ("answer", "model")
    assert "Not seen: S3 (the model doesn't show it to a replica)" in found.gate.detail


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


# --- environments, identities, artefacts --------------------------------------------------------


class Elsewhere(ScorerWire):
    """A replica with another version of a library."""

    library = "scikit-learn"

    def running(self) -> Running:
        found = super().running()
        assert found.lock is not None
        libraries = dict(found.lock.distributions)
        libraries[self.library] = msgspec.structs.replace(libraries[self.library], version="0.1")
        lock = msgspec.structs.replace(found.lock, distributions=libraries)
        return msgspec.structs.replace(found, lock=lock)


def test_33_and_35_another_library_that_answers_otherwise(
    flights_model: tuple[Path, Bundle],
) -> None:
    path, bundle = flights_model
    for name, stage in (("16 scaler fitted again", "S3"), ("22 class order", "S4")):
        wire = Elsewhere(path, change=FAULTS[name][0], at_once=1)
        report = verify(bundle, wire, wire.running(), intended=DIGEST)
        found = one_failure(report, "environment", "environment", "")
        assert "scikit-learn" in found.detail
        golden = gate(report, "golden_replay")
        assert (golden.fault, golden.stage) == ("environment", stage)


def test_34_another_library_that_answers_the_same(flights_model: tuple[Path, Bundle]) -> None:
    path, bundle = flights_model
    wire = Elsewhere(path, at_once=1)
    report = verify(bundle, wire, wire.running(), intended=DIGEST)
    assert report.result is Result.PASS
    found = gate(report, "environment")
    assert "0.1 here" in found.detail
    assert "does no harm" in found.detail


def test_a_parse_fault_is_no_fault_of_the_environment(flights_model: tuple[Path, Bundle]) -> None:
    path, bundle = flights_model
    wire = Elsewhere(path, change=FAULTS["23 clipping"][0], at_once=1)
    found = replay(bundle, wire, wire.running(), environment_differs=True)
    assert (found.stage, found.gate.fault) == ("S1", "preprocessing.parse")


def test_36_another_version_answers(flights_model: tuple[Path, Bundle]) -> None:
    path, bundle = flights_model
    wire = ScorerWire(path, at_once=1)
    report = verify(bundle, wire, wire.running(), intended="f" * 64)
    found = one_failure(report, "identity", "routing", "")
    assert "ffffffffffff… was meant" in found.detail


def test_37_a_coefficient_is_gone_from_the_file(
    flights_model: tuple[Path, Bundle], tmp_path: Path
) -> None:
    path = Path(shutil.copytree(flights_model[0], tmp_path / "damaged"))
    pipeline = pickle.loads((path / "model.pkl").read_bytes())  # noqa: S301 - our own
    pipeline[-1].coef_[:, 0] = 0.0
    (path / "model.pkl").write_bytes(cloudpickle.dumps(pipeline))
    with pytest.raises(ContractForeign) as foreign:
        read_bundle(path / "contract", path)
    bundle = read_bundle(path / "contract")
    wire = ScorerWire(path, at_once=1)
    report = verify(bundle, wire, wire.running(), intended=DIGEST, foreign=foreign.value)
    one_failure(report, "identity", "model.artefact", "")
    golden = gate(report, "golden_replay")
    assert (golden.stage, golden.fault) == ("S4", "model.artefact")


# --- what can't be judged, and what breaks ------------------------------------------------------


def test_a_model_without_a_contract_is_tried_as_far_as_that_goes(
    flights_model: tuple[Path, Bundle], tmp_path: Path
) -> None:
    path = Path(shutil.copytree(flights_model[0], tmp_path / "bare"))
    shutil.rmtree(path / "contract")
    report, _ = proved(path, derive(path))
    assert report.result is Result.PASS, report.failed
    results = {each.name: each.result for each in report.gates}
    assert tuple(results) == GATES
    assert [name for name, each in results.items() if each is GateResult.SKIPPED] == [
        "golden_replay",
        "live_lookups",
        "shadow",
        "offline_metric",
    ]
    assert "derived" in gate(report, "golden_replay").detail
    assert any("capture one at training" in note for note in report.notes)


def test_private_fields_stay_out_of_it_and_it_still_passes(tmp_path: Path) -> None:
    from tests.models import flights, late, saved

    path = Path(shutil.copytree(saved("flights-1"), tmp_path / "private"))
    pipeline = pickle.loads((path / "model.pkl").read_bytes())  # noqa: S301 - our own
    frame = flights(300)
    frame["origin"] = "SECRET"
    declared = {"origin": {"privacy": "drop"}, "carrier": {"privacy": "hash"}}
    bundle = capture(
        pipeline, frame, late(frame), into=path, declared=declared, golden=64, say=quiet
    )
    report, _ = proved(path, bundle)
    assert report.result is Result.PASS, report.failed
    assert "SECRET" not in repr(report)


class Dying(ScorerWire):
    """A replica that is gone after some requests."""

    left = 40

    def ask_many(self, requests: Any) -> list[Answer]:
        self.left -= len(requests)
        if self.left < 0:
            raise WireLost("The replica hung up; its log may say why.")
        return super().ask_many(requests)


def test_a_replica_that_dies_on_the_way_is_a_failed_gate(
    flights_model: tuple[Path, Bundle],
) -> None:
    path, bundle = flights_model
    for left, last in ((10, "golden_replay"), (110, "path_identity")):
        wire = Dying(path, at_once=1)
        wire.left = left
        report = verify(bundle, wire, wire.running(), intended=DIGEST)
        found = one_failure(report, last, "model.bug", "")
        assert "hung up" in found.detail
        assert gate(report, "negative_probes").result is GateResult.SKIPPED


def test_a_model_that_raises_for_a_stage(flights_model: tuple[Path, Bundle]) -> None:
    path, bundle = flights_model

    def broken(each: Any) -> None:
        def leave(frame: Any) -> Any:
            raise SystemExit(3)

        each.transform = leave

    wire = ScorerWire(path, change=part(lambda p: p[0], broken), at_once=1)
    found = replay(bundle, wire, wire.running())
    assert found.stage == "S3"
    assert "it raised SystemExit: 3" in found.gate.detail


def test_golden_rows_that_are_refused(flights_model: tuple[Path, Bundle]) -> None:
    path, bundle = flights_model

    def picky(model: Model) -> None:
        parse = model.intake.parse

        def altered(body: bytes, format_: Any) -> Any:
            if "Zürich" in body.decode():
                raise SerinusError("Only ASCII is read here.")
            return parse(body, format_)

        model.intake.parse = altered  # type: ignore[method-assign]

    wire = ScorerWire(path, change=picky, at_once=1)
    found = replay(bundle, wire, wire.running())
    assert (found.stage, found.gate.fault) == ("S1", "preprocessing.parse")
    assert "is refused: Only ASCII is read here." in found.gate.detail
