"""Live values are counted beside the serving thread: for whom, when, and within what bounds."""

import json
from random import Random
from typing import Any

import msgspec
import numpy as np

from serinus.errors import BadRequest, UnsupportedMediaType
from serinus.parity.contract import Contract, Field, Kind, Privacy, Type
from serinus.parity.live import Live, Record, Watch, read_live
from serinus.parity.shape import shape_of
from serinus.parity.sketch import OTHER_CALLER, WHOLE_HOUR, FieldSketch, Sketch, unpack
from serinus.replica import protocol
from serinus.replica.card import Column, ColumnType
from serinus.replica.intake import ColumnIntake, Rows
from serinus.replica.layout import Layout
from serinus.replica.loaded import Model
from serinus.replica.protocol import Format, Frame
from serinus.replica.scorer import Request, Scorer
from serinus.replica.tally import Tally
from serinus.replica.unit import Intake, Unit
from serinus.replica.watcher import Watcher
from serinus.replica.witness import Witness
from tests.unit.parity.live import trained

_HOUR = 3600.0
_COLUMNS = [
    Column("distance", ColumnType.DOUBLE),
    Column("hour", ColumnType.LONG),
    Column("carrier", ColumnType.STRING),
]


def _contract(privacy: Privacy = Privacy.PLAIN, keys: tuple[str, ...] = ()) -> Contract:
    contract, _ = trained(200)
    fields = [
        msgspec.structs.replace(
            field, privacy=privacy if field.name == "carrier" else field.privacy
        )
        for field in contract.fields
        if field.name in ("distance", "hour", "carrier")
    ]
    fields[0] = msgspec.structs.replace(fields[0], entity_keys=list(keys))
    return msgspec.structs.replace(contract, fields=fields)


class Serving:
    """A scorer with a watcher whose thread is this one."""

    def __init__(
        self, contract: Contract | None = None, intake: Intake | None = None, **more: Any
    ) -> None:
        self.now = 1000 * _HOUR
        contract = contract or _contract()
        known = (shape_of(contract, trained(200)[1]), contract)
        random = Random(1)  # noqa: S311
        self.watcher = Watcher(
            lambda: known, incarnation="i", random=random, wall=lambda: self.now, **more
        )
        self.watcher.learn()
        intake = intake or ColumnIntake(_COLUMNS)
        model = Model(intake, lambda data, _: data["distance"].to_numpy() / 10_000, None)
        self._scorer = Scorer(model, batched=True, observer=self.watcher)

    def send(self, *rows: list[Any], caller: str = "", id_: str = "r-1") -> int:
        body = {"dataframe_split": {"columns": ["distance", "hour", "carrier"], "data": list(rows)}}
        return self.send_body(json.dumps(body).encode(), caller=caller, id_=id_)

    def send_body(self, body: bytes, *, caller: str = "", id_: str = "r-1") -> int:
        meta = caller.encode() + protocol.SEPARATOR + id_.encode()
        frame = Frame(protocol.Kind.REQUEST, 1, body, meta, Format.JSON)
        return self.answer(frame)

    def answer(self, frame: Frame) -> int:
        return self._scorer.answer([Request(frame, 0.0)])[0].status

    def look(self, since: int = 0, *, rows: bool = False, rows_since: int = 0) -> Live:
        watch = Watch(since, rows, rows_since)
        frame = Frame(protocol.Kind.WATCH, 7, msgspec.msgpack.encode(watch))
        assert self.watcher.live(frame) is None
        self.watcher.turn()
        answer = self.watcher.live(frame)
        assert answer is not None
        assert (answer.kind, answer.id, answer.status) == (protocol.Kind.LIVE, 7, 200)
        return read_live(answer.body)


def _cells(live: Live) -> dict[tuple[str, int], Sketch]:
    return {(cell.caller, cell.hour): unpack(cell.content) for cell in live.cells}


def test_rows_are_counted_by_caller_and_hour() -> None:
    serving = Serving()
    assert serving.send([500, 7, "AA"], [600, 8, None], caller="web") == 200
    serving.now += _HOUR
    assert serving.send([700, 9, "UA"], caller="batch") == 200
    assert serving.send([800, 9, "UA"]) == 200
    found = _cells(serving.look())
    assert {key: sketch.rows for key, sketch in found.items()} == {
        ("web", 1000): 2,
        ("batch", 1001): 1,
        ("", 1001): 1,
    }
    web = found["web", 1000]
    assert (web.requests, web.fields["carrier"].null, web.score.n) == (1, 1, 2)
    assert web.fields["carrier"].words == {"AA": 1}


def test_answers_are_cumulative_and_only_what_changed_comes_again() -> None:
    serving = Serving()
    serving.send([500, 7, "AA"], caller="a")
    first = serving.look()
    serving.send([500, 7, "AA"], caller="b")
    second = serving.look(first.sequence)
    assert set(_cells(second)) == {("b", 1000)}
    serving.send([500, 7, "AA"], caller="a")
    third = serving.look(second.sequence)
    assert _cells(third)["a", 1000].rows == 2
    assert serving.look(third.sequence).cells == []
    assert {key: each.rows for key, each in _cells(serving.look()).items()} == {
        ("a", 1000): 2,
        ("b", 1000): 1,
    }


def test_what_was_refused_is_counted_by_kind_and_field() -> None:
    serving = Serving()
    assert serving.send(["far", 7, "AA"], caller="web") == 400
    assert serving.send([500, 7.5, "AA"], caller="web") == 400
    assert serving.send_body(b'{"dataframe_records": [{"hour": 1}]}', caller="web") == 400
    assert serving.send_body(b"nonsense", caller="web") == 400
    found = _cells(serving.look())["web", 1000]
    assert found.rows == 0
    assert found.refused["type"] == {"distance": 1, "hour": 1}
    assert found.refused["missing"] == {"distance": 1, "carrier": 1}
    assert found.refused["structure"] == {"": 1}
    assert found.fields["distance"].refused == 2
    records = serving.look(rows=True).records
    assert {record.violation for record in records} == {"type", "missing", "structure"}
    assert all(record.body for record in records)


def test_what_a_request_says_of_its_lookups_is_counted() -> None:
    serving = Serving()

    def send(lookups: Any, rows: int = 2) -> None:
        data = [[500.0, 7, "AA"]] * rows
        body = {
            "lookups": lookups,
            "dataframe_split": {"columns": ["distance", "hour", "carrier"], "data": data},
        }
        assert serving.send_body(json.dumps(body).encode(), caller="web") == 200

    send({"distance": {"status": "NOT_FOUND"}, "hour": {"age_s": 100}})
    send({"distance": {"status": ["PRESENT", "NULL"], "age_s": [60, None]}})
    # What says nothing that can be read costs nothing but itself.
    send({"distance": {"status": "LOST", "age_s": -1}, "carrier": {"status": ["PRESENT"]}})
    send({"distance": 7, "hour": {"age_s": "old"}})
    strange: list[object] = [None, [], "x", {"distance": None}, {"a": {"status": "NULL"}}]
    for each in strange:
        send(each)
    send({"distance": {"status": ["PRESENT"] * 3, "age_s": 60.0}}, rows=3)
    sketch = _cells(serving.look())["web", 1000]
    fields = sketch.fields
    assert sketch.rows == 21
    assert fields["distance"].lookups == {"NOT_FOUND": 2, "PRESENT": 4, "NULL": 1}
    assert int(fields["distance"].ages.counts.sum()) == 4
    assert int(fields["hour"].ages.counts.sum()) == 2
    assert fields["carrier"].lookups == {}
    assert "a" not in fields


def test_what_no_gateway_sent_is_no_live_value() -> None:
    serving = Serving()
    body = b'{"dataframe_split": {"columns": ["distance", "hour", "carrier"], "data": [%s]}}'
    for row in (b'[500, 7, "AA"]', b'["far", 7, "AA"]'):
        serving.answer(Frame(protocol.Kind.REQUEST, 1, body % row, b"", Format.JSON))
    assert serving.look(rows=True).cells == []
    assert serving.send([500, 7, "AA"]) == 200
    assert [cell.rows for cell in serving.look().cells] == [1]


def test_counting_pauses_for_the_thread_that_serves() -> None:
    pauses: list[int] = []
    serving = Serving(pause=lambda: pauses.append(1))
    for _ in range(320):
        serving.send([100.0, 8, "AA"])
    serving.watcher.turn()
    # Looked at, kept, counted and let go of: each has its own.
    assert len(pauses) >= 4 * 320 / 32


def test_beyond_its_rate_it_draws_a_part_and_numbers_the_rest() -> None:
    serving, rows, found = Serving(rate=100, burst_s=1.0), 0, dict[tuple[str, int], Sketch]()
    for turn in range(1, 4):
        for at in range(1000):
            serving.send([float(at), 7, "AA"], caller="web" if at % 4 else "batch")
        serving.now += 1.0
        found = _cells(serving.look())
        rows = sum(sketch.rows for sketch in found.values())
        assert rows + sum(sketch.skipped for sketch in found.values()) == 1000 * turn
        assert 40 * turn < rows < 300 * turn
    web = found["web", 1000]
    assert 0.6 < web.rows / rows < 0.9, "callers are drawn alike"


def test_what_finds_no_room_is_dropped_and_numbered(monkeypatch: Any) -> None:
    monkeypatch.setattr("serinus.replica.watcher._ROOM", 10)
    serving = Serving()
    for _ in range(30):
        assert serving.send([500, 7, "AA"]) == 200
    live = serving.look()
    assert live.dropped + sum(cell.rows for cell in live.cells) == 30
    assert live.dropped == 19
    serving.send([500, 7, "AA"])
    assert serving.look().dropped == live.dropped


def test_what_can_not_be_counted_harms_nobody() -> None:
    serving = Serving()
    broken = Unit(Rows(Layout(_COLUMNS), [(1.0,)]), 1, None)
    frame = Frame(protocol.Kind.REQUEST, meta=protocol.SEPARATOR)
    serving.watcher.answered([frame], [broken], [frame], object())
    serving.send([500, 7, "AA"])
    live = serving.look()
    assert live.failed == 1
    assert _cells(live)["", 1000].fields["hour"].n == 1
    bad = Frame(protocol.Kind.WATCH, 8, b"\xc1")
    serving.watcher.live(bad)
    serving.watcher.turn()
    answer = serving.watcher.live(bad)
    assert answer is not None
    assert answer.status == 400


def test_without_a_contract_rows_are_numbered_only() -> None:
    random = Random(1)  # noqa: S311
    watcher = Watcher(lambda: None, incarnation="i", random=random, wall=lambda: 0.0)
    watcher.learn()
    watcher.refused(
        Frame(protocol.Kind.REQUEST, meta=protocol.SEPARATOR), UnsupportedMediaType("no")
    )
    watcher.refused(
        Frame(protocol.Kind.REQUEST, meta=protocol.SEPARATOR),
        BadRequest("no", details=[{"field": "x"}]),
    )
    frame = Frame(protocol.Kind.WATCH, 1)
    watcher.live(frame)
    watcher.turn()
    answer = watcher.live(frame)
    assert answer is not None
    cells = _cells(read_live(answer.body))
    assert cells["", 0].refused == {"media_type": {"": 1}, "type": {"": 1}}


# The tally


def test_the_ninth_caller_and_those_after_are_others() -> None:
    tally = Tally()
    names = [tally.caller(f"c{at}", 5) for at in range(10)]
    assert names == [*(f"c{at}" for at in range(8)), OTHER_CALLER, OTHER_CALLER]
    assert tally.caller("", 5) == ""
    assert tally.caller(WHOLE_HOUR, 5) == OTHER_CALLER
    assert tally.caller("c0", 7) == "c0"
    assert tally.caller("new", 7) == "new", "who was silent for two hours makes room"


def test_hours_grow_old_as_wholes_and_end_after_a_day() -> None:
    tally = Tally()
    for hour in range(30):
        for caller in ("a", "b"):
            sketch = tally.sketch(caller, hour)
            sketch.rows += 1
    found = {(caller, hour): sketch.rows for caller, hour, sketch in tally.changed(0)}
    assert found["a", 29] == found["b", 28] == 1
    assert found[WHOLE_HOUR, 27] == 2
    assert min(hour for _, hour in found) == 6
    assert sum(caller == WHOLE_HOUR for caller, _ in found) == 22
    assert tally.evicted == 0


def test_the_memory_limit_costs_the_oldest_hours() -> None:
    tally = Tally(most_fields=10)
    for hour in range(12):
        sketch = tally.sketch("a", hour)
        sketch.fields = {f"f{at}": FieldSketch(n=1) for at in range(4)}
    found = tally.changed(0)
    assert sum(len(sketch.fields) for _, _, sketch in found) <= 14
    assert max(hour for _, hour, _ in found) == 11
    assert tally.evicted > 0


# The evidence


def test_all_requests_of_a_chosen_entity_are_kept() -> None:
    serving = Serving(_contract(keys=("carrier",)))
    for at in range(5):
        serving.send([500 + at, 7, "AA"], caller="web", id_=f"r-{at}")
    records = serving.look(rows=True).records
    assert [record.request_id for record in records] == [f"r-{at}" for at in range(5)]
    first = records[0]
    assert first.rows == [{"distance": 500.0, "hour": 7, "carrier": "AA"}]
    assert json.loads(first.answer) == {"predictions": [0.05]}
    assert (first.caller, first.at, first.format) == ("web", 1000 * _HOUR, "JSON")
    assert serving.look().records == []


def test_rows_are_handed_over_once_and_in_parts() -> None:
    serving = Serving()
    for at in range(5):
        serving.send([500 + at, 7, "AA"], id_=f"r-{at}")
    first = serving.look(rows=True)
    assert (len(first.records), first.row_sequence) == (5, 5)
    assert len({record.entity for record in first.records}) == 5
    serving.send([505, 7, "AA"], id_="r-5")
    second = serving.look(rows=True, rows_since=first.row_sequence)
    assert [record.request_id for record in second.records] == ["r-5"]
    assert serving.look(rows=True, rows_since=6).records == []

    witness = Witness(None, max_bytes=5_000)
    for at in range(20):
        witness.keep(Record(at=float(at), request_id=str(at), caller="", body=b"x" * 100))
    some, last = witness.since(0, 1_200)
    assert [record.request_id for record in some] == ["10", "11"], "the rest was given up by now"
    assert last == 12
    rest, last = witness.since(last, 1 << 20)
    assert (rest[0].request_id, len(rest), last) == ("12", 8, 20)
    assert len(witness.since(0, 1)[0]) == 1, "one that is larger than all room goes alone"


def test_no_value_of_a_private_field_is_kept() -> None:
    for privacy, shown in ((Privacy.HASH, True), (Privacy.DROP, False)):
        serving = Serving(_contract(privacy))
        serving.send([500, 7, "SECRET"])
        serving.send_body(b'{"dataframe_records": [{"hour": "SECRET"}]}')
        live = serving.look(rows=True)
        assert len(live.records) == 3
        assert "SECRET" not in repr(live)
        assert not any(b"SECRET" in cell.content for cell in live.cells)
        row = next(record.rows[0] for record in live.records if record.rows)
        assert ("carrier" in row) is shown


def test_the_evidence_is_bounded_by_rate_by_bytes_and_by_kind() -> None:
    witness = Witness(None, per_second=10.0, max_bytes=20_000)
    wanted = sum(witness.wants(at / 1000, witness.entity(b"r-%d" % at)) for at in range(20_000))
    assert 50 <= wanted <= 220
    for at in range(100):
        witness.keep(Record(at=float(at), request_id=str(at), caller="", body=b"x" * 500))
    kept = witness.records
    assert 10 < len(kept) < 25
    assert kept[-1].request_id == "99"
    witness = Witness(None)
    for at in range(50):
        for kind in ("type", "missing"):
            record = Record(at=float(at), request_id="", caller="", violation=kind)
            witness.refused(record)
    witness.refused(Record(at=2 * _HOUR, request_id="", caller="", violation="type"))
    assert len(witness.records) == 41


def test_entities_are_chosen_whole_when_there_are_too_many() -> None:
    field = Field(name="user", type=Type(logical=Kind.TEXT), entity_keys=["user"])
    contract = msgspec.structs.replace(_contract(), fields=[field])
    witness = Witness(contract, per_second=5.0)
    rng = np.random.default_rng(0)
    seen: dict[str, list[bool]] = {}
    for at in range(40_000):
        user = f"u{rng.integers(0, 50)}"
        kept = witness.wants(at / 200, witness.entity(user.encode()))
        if at > 30_000:
            seen.setdefault(user, []).append(kept)
    assert 0 < sum(any(kept) for kept in seen.values()) < 10


def test_what_mlflows_reading_lets_pass_is_counted_of_every_request_by_caller() -> None:
    from mlflow.types.schema import ColSpec, Schema

    from serinus.replica.audit import Audit
    from serinus.replica.foreign import ForeignIntake

    schema = Schema([ColSpec(column.type.value, column.name) for column in _COLUMNS])
    intake = ForeignIntake(schema, hinted=False, audit=Audit(ColumnIntake(_COLUMNS)))
    serving = Serving(intake=intake, rate=1, burst_s=1.0)
    for at in range(40):
        assert serving.send([1.0, 7.5, "AA"], [2.0, "8", "AA"], caller="web") == 200
        assert serving.send([1.0, 7, "AA"], caller="tidy") == 200
        body = {"dataframe_records": [{"distance": 1, "hour": 7, "carrier": "AA", f"z{at}": 1}]}
        assert serving.send_body(json.dumps(body).encode(), caller="batch") == 200
    # What the server asks its own replica is no client's request.
    probe = json.dumps({"dataframe_records": [{"distance": 1, "hour": 7.5, "carrier": "AA"}]})
    serving.answer(Frame(protocol.Kind.REQUEST, 1, probe.encode(), b"", Format.JSON))
    found = {caller: sketch for (caller, _), sketch in _cells(serving.look()).items()}
    assert found["web"].coerced == {"fraction": {"hour": 40}, "string": {"hour": 40}}
    assert found["batch"].coerced == {"extra column": {"": 40}}  # clients make such names up
    assert found["tidy"].coerced == {} if "tidy" in found else True
    # Of the rows themselves only as many were counted as a second allows.
    assert sum(sketch.rows for sketch in found.values()) < 10
    both = found["web"] + found["batch"]
    assert both.coerced == {**found["web"].coerced, **found["batch"].coerced}
