"""Faults of a serving process, each injected into what really serves, and the gate that sees it.

The numbers are those of the catalogue of faults that verification is measured by. The model's files
stay right unless a fault is one of files; so nothing but the gates can tell.
"""

import os
import pickle
import shutil
import time
from pathlib import Path
from typing import Any

import cloudpickle
import msgspec
import numpy as np
import pandas as pd
import pytest

from serinus.contract import capture, read_bundle
from serinus.parity.canonical import ContractForeign
from serinus.parity.folder import Bundle
from serinus.parity.gates.golden import replay
from serinus.parity.verification import GateResult, Result
from serinus.parity.verify import verify
from serinus.parity.wire import Running
from serinus.replica.loaded import Model
from tests.integration.parity.faulty import (
    FAULTS,
    final,
    gate,
    number,
    one_failure,
    part,
    proved,
    quiet,
    set_to,
    through,
    wobbling,
)
from tests.wires import DIGEST, ScorerWire


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


def test_67_threads_that_disagree_in_what_nobody_sees_are_let_through(
    flights_model: tuple[Path, Bundle],
) -> None:
    path, bundle = flights_model
    report, _ = proved(path, bundle, change=part(final, wobbling(1e-12)))
    assert report.result is Result.PASS, report.failed
    wire = ScorerWire(path, change=FAULTS["67 threads that disagree"][0], at_once=1)
    found = replay(bundle, wire, wire.running())
    assert "computed twice by this process, differ in their last digits" in found.gate.detail


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
