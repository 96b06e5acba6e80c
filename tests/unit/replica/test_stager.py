"""Sampled requests are taken apart beside serving; what contradicts itself is found by stage."""

import json
import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer

from serinus.api.staged import staged_of
from serinus.parity.contract import Contract, Privacy, Stage
from serinus.parity.diagnosis.diagnose import diagnose
from serinus.parity.diagnosis.values import Repeated, Staged
from serinus.parity.live import Record, Watch, read_live
from serinus.parity.shape import shape_of
from serinus.parity.wire import Inspection, Request, Running
from serinus.replica import protocol
from serinus.replica.card import Column, ColumnType
from serinus.replica.inspector import Inspector
from serinus.replica.intake import ColumnIntake
from serinus.replica.loaded import Model
from serinus.replica.loop import Loop
from serinus.replica.protocol import Format, Frame, Hello
from serinus.replica.scorer import Request as Queued
from serinus.replica.scorer import Scorer
from serinus.replica.stager import Stager, kept
from serinus.replica.unit import Unit
from serinus.replica.watcher import Watcher
from tests.unit.parity.diagnosis.known import rows_like_training, snapshot
from tests.unit.parity.live import trained

_HOUR = 3600.0
_COLUMNS = [
    Column("distance", ColumnType.DOUBLE),
    Column("hour", ColumnType.LONG),
    Column("carrier", ColumnType.STRING),
]
_STAGES = [Stage(name=name) for name in ("S1", "S3:functiontransformer", "S3", "S4", "S5")]


def _contract(privacy: Privacy = Privacy.PLAIN) -> Contract:
    contract, _ = trained(200)
    names = [column.name for column in _COLUMNS]
    fields = [
        msgspec.structs.replace(each, privacy=privacy if each.name == "carrier" else each.privacy)
        for each in contract.fields
        if each.name in names
    ]
    return msgspec.structs.replace(contract, fields=fields, stages=_STAGES)


class Replica:
    """Scorer, inspector, stager and watcher of one model; every thread is this one."""

    def __init__(
        self, change: Callable[[Any], Any], contract: Contract | None = None, **more: Any
    ) -> None:
        self.now = 1000 * _HOUR
        contract = contract or _contract()
        frame = _frame(200)
        pipeline: Pipeline = make_pipeline(
            FunctionTransformer(change), LogisticRegression(max_iter=2000)
        ).fit(frame, np.arange(200) % 2)
        self.model = Model(
            ColumnIntake(_COLUMNS), lambda data, _: pipeline.predict(data), None, loaded=pipeline
        )
        self.inspector = Inspector(self.model, contract, Running(model_digest="d"))
        assert self.inspector.has_stages
        self.stager = Stager(self.inspector.stages_of, clock=lambda: self.now, **more)
        known = (shape_of(contract, trained(200)[1]), contract)
        self.watcher = Watcher(
            lambda: known,
            incarnation="i",
            random=Random(1),  # noqa: S311
            wall=lambda: self.now,
            stager=self.stager,
        )
        self.watcher.learn()
        self._scorer = Scorer(self.model, batched=False, observer=self.watcher)

    def send(self, frame: pd.DataFrame, id_: str) -> None:
        rows = frame.to_dict(orient="records")
        meta = b"web" + protocol.SEPARATOR + id_.encode()
        body = json.dumps({"dataframe_records": rows}).encode()
        sent = Frame(protocol.Kind.REQUEST, 1, body, meta, Format.JSON)
        assert self._scorer.answer([Queued(sent, 0.0)])[0].status == 200
        self.now += 1

    def records(self) -> list[Record]:
        """What is kept, once everything had its moment."""
        self.watcher.turn()
        while self.stager.step():
            pass
        body = msgspec.msgpack.encode(Watch(0, True, 0))
        frame = Frame(protocol.Kind.WATCH, 7, body)
        self.watcher.live(frame)
        self.watcher.turn()
        answer = self.watcher.live(frame)
        assert answer is not None
        return read_live(answer.body).records

    def apart(self, requests: Sequence[Request]) -> list[Inspection]:
        return [self.inspector.inspect([(each.body, Format.JSON)]) for each in requests]

    def staged(self) -> Staged | None:
        return staged_of(self.records(), self.apart)


def _frame(rows: int, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "distance": random.integers(90, 4000, rows).astype(float),
            "hour": random.integers(0, 24, rows),
            "carrier": random.choice(["AA", "DL", "UA"], rows),
        }
    )


class _Clock:
    """What a feature of the time of day is made of."""

    hour = 3

    def __call__(self, frame: Any) -> Any:
        return frame[["distance", "hour"]].assign(now=self.hour)


def _plain(frame: Any) -> Any:
    return frame[["distance", "hour"]].assign(ua=frame["carrier"] == "UA")


def _codes(frame: Any) -> Any:
    return frame.assign(carrier=frame["carrier"].astype("category").cat.codes)


def _ranks(frame: Any) -> Any:
    return frame[["distance", "hour"]].assign(rank=frame["distance"].rank(pct=True))


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        (_plain, "healthy"),
        (_codes, "preprocessing.transform"),  # case 61
        (_ranks, "preprocessing.transform"),  # case 62
        (_Clock(), "preprocessing.transform"),  # case 63
    ],
)
def test_a_step_that_depends_on_more_than_its_row_is_no_bug_of_the_model(
    change: Any, detail: str
) -> None:
    replica = Replica(change)
    for at in range(6):
        replica.send(_frame(5, at), f"r-{at}")
    records = replica.records()
    assert len(records) == 6
    assert all(set(each.stages) == {"S3", "S4", "S5"} for each in records)
    if isinstance(change, _Clock):
        change.hour = 15
    staged = staged_of(records, replica.apart)
    assert staged is not None
    assert len(staged.ids) == 24  # four rows of each
    facts = snapshot(
        rows_like_training(2000, 2),
        staged=staged,
        repeated=Repeated(rows=30, otherwise=["r-1"] if detail != "healthy" else []),
    )
    said = diagnose(facts)
    assert said.detail == detail, said.findings
    if detail == "healthy":
        assert any("taken apart alone" in each for each in said.notes)
    else:
        [finding] = said.findings
        assert (finding.step, finding.pattern) == (7, "first difference at S3")
        assert len(finding.evidence) == 2  # that the answers differ is told beside it


def test_where_every_stage_agrees_another_answer_is_the_models() -> None:
    replica = Replica(_plain)
    for at in range(3):
        replica.send(_frame(5, at), f"r-{at}")
    facts = snapshot(
        rows_like_training(2000, 2),
        staged=replica.staged(),
        repeated=Repeated(rows=3, otherwise=["r-1"]),
    )
    assert diagnose(facts).detail == "model.bug"


def test_a_stage_that_has_another_width_alone_differs() -> None:
    replica = Replica(_plain)
    replica.send(_frame(2, 1), "r-1")
    [record] = replica.records()
    wider = [*record.stages["S3"], [1.0, 1.0]]
    record = msgspec.structs.replace(record, stages={**record.stages, "S3": wider})
    staged = staged_of([record], replica.apart)
    said = diagnose(snapshot(rows_like_training(2000, 2), staged=staged))
    assert said.detail == "preprocessing.transform"


def test_what_is_made_of_private_values_is_not_kept() -> None:
    replica = Replica(_plain, _contract(Privacy.HASH))
    replica.send(_frame(2, 1), "r-1")
    assert [each.stages for each in replica.records()] == [{}]
    assert replica.staged() is None


def test_without_a_moment_or_time_left_a_sample_is_kept_as_it_is() -> None:
    replica = Replica(_plain)
    replica.send(_frame(2, 1), "late")
    replica.watcher.turn()
    replica.now += 10  # the serving thread had no moment
    assert [each.stages for each in replica.records()] == [{}]

    spent = Replica(_plain, burst_s=0.0)
    spent.send(_frame(2, 1), "r-1")
    assert [each.stages for each in spent.records()] == [{}]


def test_no_more_than_its_share_of_the_time_goes_into_it() -> None:
    now = [0.0]

    def slow(unit: Unit) -> dict[str, list[Any]]:
        now[0] += 0.2
        return {"S4": [np.array([0.5])]}

    stager = Stager(slow, clock=lambda: now[0], share=0.01, burst_s=0.5)
    record, unit, taken = Record(0.0, "r", "web"), Unit(None, 1, None), 0
    for _ in range(1000):
        stager.offer(record, [{}], unit)
        stager.step()
        taken += sum(bool(each.stages) for each, _ in stager.back())
        now[0] += 0.1
    assert 5 <= taken <= 8  # 0.5 s at once, and one in a hundred of a hundred seconds
    assert not Stager(slow).offer(record, [{}], Unit(None, 1000, None))


def test_wide_stages_are_kept_of_fewer_rows_and_without_steps() -> None:
    wide = {"S3:a": [np.zeros((16, 1500))], "S3": [np.zeros((16, 600))], "S4": [np.zeros((16, 2))]}
    found = kept(wide)
    assert {name: len(columns[0]) for name, columns in found.items()} == {"S3": 3, "S4": 3}
    assert kept({"S3": [np.zeros((16, 5000))], "S4": [np.zeros(16)]}) == {}
    assert kept({"S5": [["yes", "no"]], "S3": [np.zeros((2, 3)), ["a", None]]}) == {
        "S5": [["yes", "no"]],
        "S3": [[[0.0] * 3] * 2, ["a", None]],
    }
    assert kept({}) == {}


class _Silent:
    def answer(self, requests: Sequence[Queued]) -> list[Frame]:
        return [Frame(protocol.Kind.RESPONSE, each.frame.id) for each in requests]


def test_an_idle_replica_is_woken_for_it(tmp_path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    left, done = [5], threading.Event()

    def chore() -> bool:
        if left[0] == 5:
            return False  # nothing to do before somebody wakes it
        left[0] -= 1
        if not left[0]:
            done.set()
        return left[0] > 0

    hello = Hello(1, "r", "d", 1)
    loop = Loop(listener, _Silent(), hello, max_batch=4, drain_s=1.0, chore=chore)
    thread = threading.Thread(target=loop.run)
    thread.start()
    left[0] = 4
    loop.wake()
    assert done.wait(20)
    loop.drain()
    thread.join(20)
    assert not thread.is_alive()
