"""Verification through a real replica process and its socket, started for nothing else."""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from serinus.contract import capture
from serinus.engine.artifacts import ModelStore
from serinus.engine.engine import ReplicaStatus
from serinus.engine.trial import TrialFailed, trial
from serinus.engine.verifying import verify_replica
from serinus.engine.wire import connect
from serinus.entities import EnvironmentRef, ModelRef
from serinus.errors import InvalidParameterValue
from serinus.parity.verification import GateResult, Result, Verification
from serinus.parity.wire import Request, WireLost


class Own:
    """Gives every model the environment of the tests."""

    def prepare(
        self, model: ModelRef, directory: Path, say: Callable[[str], None]
    ) -> EnvironmentRef:
        return EnvironmentRef("own", sys.executable, "current")


def now() -> datetime:
    return datetime.now(UTC)


def quiet(line: str) -> None:
    """Nobody reads it here."""


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A captured model that looks at the time zone."""
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    from tests.models import local_hour, save_sklearn

    frame = pd.DataFrame({"hour": [float(at) for at in range(60)], "x": [1.0, 2.0, 4.0] * 20})
    model = make_pipeline(FunctionTransformer(local_hour), LinearRegression())
    model.fit(frame, frame["hour"])
    path = save_sklearn(tmp_path_factory.mktemp("clock") / "clock", model, frame)
    capture(model, frame, frame["hour"], into=path, golden=64, say=quiet)
    return path


@contextmanager
def running(
    model: Path, tmp_path: Path, short: Path, **environ: str
) -> Iterator[tuple[Path, str, ReplicaStatus]]:
    store = ModelStore(tmp_path)
    digest = store.add(model)
    ref = store.ref(digest, uri=str(model), resolved=str(model))
    with trial(
        ref,
        short,
        store=store,
        builder=Own(),
        environ={**os.environ, **environ},
        clock=now,
        say=quiet,
    ) as replica:
        yield store.path(digest), digest, replica


@pytest.fixture
def short(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A path that a socket's name fits into."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="srn-") as path:
        yield Path(path)


def results(report: Verification) -> dict[str, GateResult]:
    return {each.name: each.result for each in report.gates}


def test_a_model_that_keeps_its_promises(clock: Path, tmp_path: Path, short: Path) -> None:
    zone = os.environ.get("TZ", "")
    with running(clock, tmp_path, short, TZ=zone) as (directory, digest, replica):
        report = verify_replica(directory, replica.address, digest)
        assert report.result is Result.PASS, report.failed
        assert (report.rows, report.model_digest) == (60, digest)
        assert results(report)["golden_replay"] is GateResult.PASS

        # It answers clients all the while, also those who ask nonsense of it.
        with connect(replica.address, digest) as wire:
            assert wire.ask(Request(b"{}")).status == 400
            assert wire.inspect([Request(b"{}")]).refused[0].startswith("The request must be")
            told = wire.running()
            assert (told.model_digest, told.contract_id) == (digest, report.contract_id)
            assert told.batched == replica.batched

        with pytest.raises(WireLost, match="were expected"):
            connect(replica.address, "f" * 64)
        elsewhere = verify_replica(directory, replica.address, "f" * 64)
        assert elsewhere.failed is not None
        assert (elsewhere.failed.name, elsewhere.failed.fault) == ("identity", "routing")

        assert replica.pid is not None
        os.kill(replica.pid, signal.SIGKILL)
        gone = verify_replica(directory, replica.address, digest)
        assert gone.failed is not None
        assert gone.result is Result.FAIL
    assert not list((short / "run").glob("*.sock"))


def test_bad_input_ends_in_a_clear_error_and_the_process_lives(
    clock: Path, tmp_path: Path, short: Path
) -> None:
    """A process whose contract is broken serves all the same, and refuses what can't be read."""
    path = Path(shutil.copytree(clock, tmp_path / "model"))
    golden = path / "contract" / "golden.jsonl"
    golden.write_bytes(golden.read_bytes()[:-40])
    names = ["hour", "x"]
    good = b'{"dataframe_split":{"columns":["hour","x"],"data":[[1,2]]}}'
    wide = {"dataframe_split": {"columns": [*names, *map(str, range(10**6))], "data": [[0, 0]]}}
    rows = b",".join([b"[1.25,2.5]"] * (16 * 2**20 // 11))
    large = good.replace(b"[1,2]", rows)
    bad: dict[str, tuple[Request, int, str]] = {
        "NaN": (Request(good.replace(b"2]", b"NaN]")), 400, "JSON"),
        "Infinity": (Request(good.replace(b"2]", b"-Infinity]")), 400, "JSON"),
        "deep": (Request(b"[" * 200 + b"]" * 200), 400, "deep"),
        "deep cell": (Request(good.replace(b"2]", b"[" * 200 + b"1" + b"]" * 201)), 400, "deep"),
        "10^6 columns": (Request(json.dumps(wide).encode()), 400, "columns"),
        "16 MiB of text": (Request(good.replace(b"2]", b'"' + b"x" * 2**24 + b'"]')), 400, "'x'"),
        "16 MiB that end early": (Request(large[:-3]), 400, "JSON"),
        "Parquet that is none": (Request(good, "application/vnd.apache.parquet"), 400, "Parquet"),
        "another type": (Request(good, "text/plain"), 415, "application/json"),
    }
    with running(path, tmp_path, short) as (directory, digest, replica):
        report = verify_replica(directory, replica.address, digest)
        assert report.failed is not None
        assert (report.failed.name, report.failed.fault) == ("identity", "contract")
        with connect(replica.address, digest) as wire:
            answers = [wire.ask(Request(good)).body]
            for name, (request, status, told) in bad.items():
                answer = wire.ask(request)
                message = json.loads(answer.body)["message"]
                assert (answer.status, told in message) == (status, True), (name, message)
                assert len(message) < 500, name
                answers.append(wire.ask(Request(good)).body)
            assert len(set(answers)) == 1
        assert replica.pid is not None
        os.kill(replica.pid, 0)


def test_another_time_zone_than_at_training(clock: Path, tmp_path: Path, short: Path) -> None:
    with running(clock, tmp_path, short, TZ="Asia/Tokyo") as (directory, digest, replica):
        report = verify_replica(directory, replica.address, digest)
    failed = report.failed
    assert failed is not None
    assert (failed.name, failed.stage, failed.fault) == (
        "golden_replay",
        "S3",
        "preprocessing.transform",
    )
    assert "The time zone is JST" in failed.detail


def test_broken_contracts_and_models_that_do_not_start(
    clock: Path, tmp_path: Path, short: Path
) -> None:
    """No replica is needed to see that a contract is broken."""
    from tests.models import saved

    for name, damage, fault in (
        ("cut", lambda f: f.write_bytes(f.read_bytes()[:-40]), "contract"),
        ("gone", lambda f: f.unlink(), "contract"),
    ):
        path = Path(shutil.copytree(clock, tmp_path / name))
        damage(path / "contract" / "golden.jsonl")
        report = verify_replica(path, str(short / "nobody"), "0" * 64)
        assert report.failed is not None
        assert (report.failed.name, report.failed.fault) == ("identity", fault)
        assert "golden.jsonl" in report.failed.detail
        assert results(report)["golden_replay"] is GateResult.SKIPPED

    report = verify_replica(clock, str(short / "nobody"), "0" * 64)
    assert report.failed is not None
    assert "can't be reached" in report.failed.detail

    with pytest.raises(InvalidParameterValue, match="no MLmodel file"):
        verify_replica(tmp_path, str(short / "nobody"), "0" * 64)

    with (
        pytest.raises(TrialFailed, match="the weights of this model are missing"),
        running(saved("unloadable"), tmp_path / "home", short),
    ):
        pytest.fail("it started")
