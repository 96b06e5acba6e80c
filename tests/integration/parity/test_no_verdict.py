"""Verifications of what can't be judged, or that breaks on the way: a gate says so."""

import pickle
import shutil
from pathlib import Path
from typing import Any

from serinus.contract import capture
from serinus.errors import SerinusError
from serinus.parity.derived import derive
from serinus.parity.folder import Bundle
from serinus.parity.gates.golden import replay
from serinus.parity.verification import GateResult, Result
from serinus.parity.verify import GATES, verify
from serinus.parity.wire import Answer, WireLost
from serinus.replica.loaded import Model
from tests.integration.parity.faulty import (
    gate,
    one_failure,
    part,
    proved,
    quiet,
)
from tests.wires import DIGEST, ScorerWire


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
