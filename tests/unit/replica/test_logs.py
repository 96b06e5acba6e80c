"""Log lines of a replica, and which request and trace those about a failed one name."""

import json
import logging

import numpy as np
import pytest

from serinus.replica.card import Column, ColumnType
from serinus.replica.intake import ColumnIntake
from serinus.replica.loaded import Model
from serinus.replica.logs import Lines
from serinus.replica.protocol import Format, Frame, Kind
from serinus.replica.scorer import Request, Scorer

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
META = b"web\0gw-7\0" + f"00-{TRACE}-00f067aa0ba902b7-01".encode()


def scorer(model_error: BaseException | None = None) -> Scorer:
    def predict(data, _params):
        if model_error is not None:
            raise model_error
        return data["x"].to_numpy()

    intake = ColumnIntake([Column("x", ColumnType.DOUBLE)])
    return Scorer(Model(intake, predict, None), batched=True)


def request(meta: bytes = META) -> Request:
    body = json.dumps({"inputs": {"x": [1.0]}}).encode()
    return Request(Frame(Kind.REQUEST, 1, body, meta, Format.JSON), 0.0)


@pytest.mark.parametrize(
    ("error", "said"),
    [(ValueError("no"), "action=predict_failed"), (SystemExit(3), "action=predict_exited")],
)
def test_a_failed_request_is_logged_with_its_id_and_its_trace(error, said, caplog):
    [answer] = scorer(error).answer([request()])
    assert answer.status >= 400
    [record] = [each for each in caplog.records if each.message == said]
    line = Lines(as_json=False).format(record)
    head, _, traceback = line.partition("\n")
    assert head.endswith(f"{said} request_id=gw-7 trace_id={TRACE}")
    assert traceback.startswith("Traceback")
    told = json.loads(Lines(as_json=True).format(record))
    assert told.pop("timestamp").endswith("Z")
    assert told.pop("exception").startswith("Traceback")
    assert told == {
        "event": said,
        "logger": "serinus.replica.scorer",
        "level": "error",
        "request_id": "gw-7",
        "trace_id": TRACE,
    }


def test_outside_of_a_trace_a_line_names_none(caplog):
    scorer(ValueError("no")).answer([request(b"web\0gw-7")])
    record = caplog.records[-1]
    assert "request_id=gw-7" in Lines(as_json=False).format(record)
    assert "trace_id" not in Lines(as_json=False).format(record)
    assert "trace_id" not in json.loads(Lines(as_json=True).format(record))


def test_a_line_about_no_request_is_as_it_was():
    record = logging.LogRecord("a.b", logging.INFO, "", 1, "action=%s", ("ready",), None)
    assert Lines(as_json=False).format(record).endswith("INFO a.b action=ready")
    assert json.loads(Lines(as_json=True).format(record))["event"] == "action=ready"


def test_batches_are_counted_by_their_size():
    counting = scorer()
    for size in (1, 1, 2, 3, 4, 5, 1024, 1025, 9000):
        answers = counting.answer([request() for _ in range(size)])
        assert np.all([each.status == 200 for each in answers])
    assert counting.sizes.batches == [2, 1, 2, 1, 0, 0, 0, 0, 0, 0, 1, 2]
    assert counting.sizes.requests == 11065
