"""A real process over its real socket answers as `mlflow.pyfunc` does in-process."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from serinus.entities import Reading
from serinus.replica.launch import Phase
from serinus.replica.protocol import Format, Frame, Kind
from tests.integration.replica.process import Running, content, request
from tests.models import flights, iris, official

Serving = Callable[[str], Running]


def _cell(value: Any) -> Any:
    if pd.isna(value):
        return None
    if isinstance(value, pd.Timestamp):
        return value.isoformat()
    return value.item() if isinstance(value, np.generic) else value


def _forms(frame: pd.DataFrame) -> dict[str, Any]:
    """A frame in all forms of request."""
    names = list(frame.columns)
    columns = {name: [_cell(value) for value in frame[name]] for name in names}
    rows = [list(row) for row in zip(*columns.values(), strict=True)]
    records = [dict(zip(names, row, strict=True)) for row in rows]
    return {
        "dataframe_split": {"columns": names, "data": rows},
        "dataframe_records": records,
        "instances": records,
        "inputs": columns,
    }


@pytest.mark.parametrize("form", ["dataframe_split", "dataframe_records", "instances", "inputs"])
def test_mixed_columns_with_gaps_answered_alone_are_mlflows_bit_for_bit(
    serving: Serving, form: str
) -> None:
    running, theirs = serving("flights-2"), official("flights-2")
    peer = running.peer()
    frame = flights(24, seed=5)
    for at in range(0, 24, 3):
        part = frame.iloc[at : at + 1 + at % 3].reset_index(drop=True)
        (answer,) = peer.ask([{form: _forms(part)[form]}])
        assert answer.status == 200, answer.body
        assert content(answer)["predictions"] == theirs.predict(part).tolist()


def test_probabilities_are_the_same_bits_alone_and_a_few_ulp_away_in_a_batch(
    serving: Serving,
) -> None:
    running, theirs = serving("iris-proba"), official("iris-proba")
    peer = running.peer()
    frame = iris(64, seed=9)
    bodies = [
        {"dataframe_split": _forms(frame.iloc[at : at + 1])["dataframe_split"]} for at in range(64)
    ]
    expected = [theirs.predict(frame.iloc[at : at + 1])[0] for at in range(64)]
    for at in range(8):
        (answer,) = peer.ask([bodies[at]])
        assert content(answer)["predictions"][0] == expected[at].tolist()
    answers = peer.ask(bodies)
    assert len({answer.batch for answer in answers}) < 64
    # BLAS sums in another order by batch size, and how many share a batch is a matter of time: of
    # all the ways to cut these rows the worst is 64 ULP away.
    for answer, want in zip(answers, expected, strict=True):
        np.testing.assert_array_max_ulp(np.array(content(answer)["predictions"][0]), want, 256)


def test_csv_is_answered_like_json(serving: Serving) -> None:
    peer = serving("flights-1").peer()
    frame = flights(9, seed=2)
    (csv,) = peer.ask([frame.to_csv(index=False).encode()], format_=Format.CSV)
    (json_,) = peer.ask([{"dataframe_records": _forms(frame)["dataframe_records"]}])
    assert csv.status == 200
    assert content(csv) == content(json_)


def test_200_requests_on_several_connections_each_get_their_own_answer(serving: Serving) -> None:
    running = serving("echo")
    peers = [running.peer() for _ in range(5)]
    frame = _forms(flights(200, seed=4))["dataframe_records"]
    for at, record in enumerate(frame):
        record["distance"] = float(at)
        peers[at % 5].send([request(at, {"dataframe_records": [record]})])
    batches = set()
    for place, peer in enumerate(peers):
        got = {frame.id: frame for frame in (peer.next() for _ in range(40))}
        assert set(got) == set(range(place, 200, 5))
        for id_, answer in got.items():
            (row,) = content(answer)["predictions"]
            assert row["distance"] == float(id_)
            batches.add(answer.batch)
    assert len(batches) < 200


def test_bad_rows_fail_alone_among_neighbours(serving: Serving) -> None:
    peer = serving("raises").peer()
    bodies = [{"dataframe_records": [{"x": value, "y": 1}]} for value in (1, 13, "a", 4, None)]
    answers = peer.ask([*bodies, b"{", {"dataframe_records": [{"x": 1}]}])
    assert [each.status for each in answers] == [200, 400, 400, 200, 200, 400, 400]
    assert [content(answers[at])["predictions"] for at in (0, 3, 4)] == [[2.0], [8.0], [None]]
    message = content(answers[1])["message"]
    assert message.endswith("evaluating the model: ValueError: thirteen is not a number I like")
    assert "File" not in message
    assert "thirteen is not a number I like" in serving("raises").log()
    assert "Traceback" in serving("raises").log()


def test_the_hello_names_the_replica_and_pings_are_answered(serving: Serving) -> None:
    running = serving("raises")
    peer = running.peer()
    assert (peer.hello.replica_id, peer.hello.model_digest) == ("r-1", "sha256:abc")
    assert peer.hello.pid == running.process.pid
    peer.send([Frame(Kind.PING, 77)])
    assert peer.next() == Frame(Kind.PONG, 77)


def test_a_peer_that_talks_nonsense_or_vanishes_leaves_the_others_served(serving: Serving) -> None:
    running = serving("raises")
    good, rude, gone = running.peer(), running.peer(), running.peer()
    rude.sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 4)
    with pytest.raises(EOFError):
        rude.next()
    confused = running.peer()
    confused.send([Frame(Kind.RESPONSE, 1)])
    with pytest.raises(EOFError):
        confused.next()
    body = {"dataframe_records": [{"x": 2, "y": 1}]}
    gone.send([request(at, body) for at in range(50)])
    gone.close()
    assert content(good.ask([body])[0])["predictions"] == [4.0]


def test_a_peer_that_does_not_read_holds_up_nobody(serving: Serving) -> None:
    running = serving("echo")
    lazy, good = running.peer(), running.peer()
    rows = _forms(flights(2000, seed=4))["dataframe_records"]
    large = json.dumps({"dataframe_records": rows}).encode()
    lazy.send([request(1, large), request(2, large), request(3, large)])
    for _ in range(3):
        assert good.ask([{"dataframe_records": rows[:1]}])[0].status == 200
    for id_ in (1, 2, 3):
        answer = lazy.next()
        assert (answer.id, len(content(answer)["predictions"])) == (id_, 2000)


def test_a_replica_reads_strictly_unless_it_is_to_read_as_mlflow_does(
    serving: Serving, start: Callable[..., Running]
) -> None:
    lenient = start("flights-1", intake=Reading.MLFLOW)
    assert lenient.settled().phase is Phase.READY
    strict, other = serving("flights-1").peer(), lenient.peer()
    good = _forms(flights(1, seed=6))["dataframe_records"][0]
    wrong = [
        {"dataframe_records": [{**good, **change}]}
        for change in ({"weekend": "false"}, {"hour": 7.5}, {"scheduled": "01/02/2013"})
    ]
    odd = [
        json.dumps({"dataframe_records": [good]})
        .replace('"hour": ', '"hour": 1, "hour": ')
        .encode(),
        b'{"dataframe_records": [{"x": NaN}]}',
        b"[" * 200_000,
        b'{"inputs": ' + b'{"a":' * 200 + b"1" + b"}" * 201,
    ]
    assert [each.status for each in other.ask(wrong)] == [200, 200, 200]
    refused = strict.ask([*wrong, *odd])
    assert [each.status for each in refused] == [400] * 7
    assert content(refused[0])["details"] == [
        {"row": 0, "field": "weekend", "expected": "boolean", "got": 'the string "false"'}
    ]
    good_body = {"dataframe_records": [good]}
    assert content(strict.ask([good_body])[0]) == content(other.ask([good_body])[0])
    large = {"dataframe_records": [{**good, "carrier": "x" * 15_000_000}]}
    assert strict.ask([large])[0].status == 200
