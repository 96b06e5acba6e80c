"""The generator against a server of known behaviour: nothing here depends on how fast it is."""

import asyncio
import json
import socket
from contextlib import asynccontextmanager

import pytest

from bench.answers import Payload, http_request
from bench.load import Job, measure, run_job


def _answer(body: bytes, status: str = "200 OK", extra: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
    return head.encode() + body


class _Server(asyncio.Protocol):
    """Answers request "n" by `replies[n]`; None hangs up, b"" says nothing."""

    def __init__(self, replies, served):
        self._replies = replies
        self._served = served

    def connection_made(self, transport):
        self._transport = transport

    def data_received(self, data):
        number = json.loads(data.partition(b"\r\n\r\n")[2])
        self._served[number] = self._served.get(number, 0) + 1
        reply = self._replies[number]
        if reply is None:
            self._transport.close()
        else:
            # In two pieces: an answer need not come whole.
            self._transport.write(reply[:20])
            self._transport.write(reply[20:])


@asynccontextmanager
async def _serving(*replies):
    served: dict[int, int] = {}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Server(replies, served), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], served


def _payloads(*predictions):
    return [
        Payload(
            http_request("POST", "/invocations", "127.0.0.1", json.dumps(number).encode()),
            predictions=wanted,
        )
        for number, wanted in enumerate(predictions)
    ]


def _run(replies, predictions, **how):
    async def both():
        async with _serving(*replies) as (port, served):
            job = Job("127.0.0.1", port, _payloads(*predictions), **how)
            return await run_job(job), served

    return asyncio.run(both())


def test_right_and_wrong_answers_are_told_apart_one_by_one():
    right, wrong = _answer(b'{"predictions": [1]}'), _answer(b'{"predictions": [0]}')
    result, served = _run(
        [right, wrong, right], [[1], [1], [1]], connections=4, seconds=0.5, warmup=0.0
    )
    assert result.errors == {}
    assert result.wrong == served[1] > 0
    assert result.answers == served[0] + served[2]
    # The last answers of the four connections may come after the window.
    assert result.answers - 4 <= result.right <= result.answers
    assert sum(result.histogram_ms.values()) == result.right
    assert '{"predictions": [0]}' in result.wrong_example
    assert result.bytes_in > 0


def test_each_status_and_each_hang_up_is_counted_and_the_run_goes_on():
    replies = [
        _answer(b'{"predictions": [1]}'),
        _answer(b"{}", "429 Too Many Requests"),
        None,
        b"nonsense, twenty bytes and more\r\n\r\n",
    ]
    result, served = _run(replies, [[1]] * 4, connections=2, seconds=0.4, warmup=0.0)
    assert result.answers == served[0] > 0
    assert result.errors["status 429"] == served[1] > 0
    assert result.errors["reset"] == served[2] > 0
    assert result.errors["malformed"] == served[3] > 0


def test_a_server_that_closes_after_its_answer_is_no_error():
    reply = _answer(b'{"predictions": [1]}', extra="Connection: close\r\n")
    result, served = _run([reply], [[1]], connections=2, seconds=0.3, warmup=0.0)
    assert result.errors == {}
    assert result.answers == served[0] > 2


def test_silence_is_counted_as_unanswered():
    result, _ = _run([b""], [[1]], connections=3, seconds=0.1, warmup=0.0, drain=0.1)
    assert result.right == 0
    assert result.errors == {"unanswered": 3}


def test_an_open_loop_asks_for_what_was_due_and_no_more():
    reply = _answer(b'{"predictions": [1]}')
    result, served = _run([reply], [[1]], connections=8, seconds=0.5, warmup=0.1, rate=200.0)
    assert served[0] == 120
    assert result.right == 100
    assert result.rps == pytest.approx(200.0)


def test_an_open_loop_against_silence_loses_none_of_the_requests_that_were_due():
    result, _ = _run([b""], [[1]], connections=1, seconds=0.2, warmup=0.0, rate=100.0, drain=0.1)
    assert result.errors == {"unanswered": 20}


def test_a_stall_is_felt_by_every_request_that_was_due_while_it_lasted():
    reply = _answer(b'{"predictions": [1]}')

    class Stalling(asyncio.Protocol):
        stalled = False

        def connection_made(self, transport):
            self._transport = transport

        def data_received(self, data):
            delay = 0.0 if Stalling.stalled else 0.3
            Stalling.stalled = True
            asyncio.get_running_loop().call_later(delay, self._transport.write, reply)

    async def both():
        server = await asyncio.get_running_loop().create_server(Stalling, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            return await run_job(Job("127.0.0.1", port, _payloads([1]), 1, 0.4, 0.0, 100.0))

    result = asyncio.run(both())
    assert result.right == 40
    # One request of forty met the stall, ten were due in its first 100 ms and waited 200 or more:
    # a generator that measures from when it got round to sending would see one slow request.
    assert result.p90_ms >= 195


def test_the_generator_runs_in_a_process_of_its_own():
    async def both():
        async with _serving(_answer(b'{"predictions": [1]}')) as (port, served):
            job = Job("127.0.0.1", port, _payloads([1]), connections=2, seconds=0.5, warmup=0.1)
            return await asyncio.to_thread(measure, job), served

    result, served = asyncio.run(both())
    assert result.answers == served[0] > 0
    assert result.failed == 0


def test_nobody_there_is_an_error_that_says_so(monkeypatch):
    monkeypatch.setattr("bench.load._CONNECT_S", 0.2)
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        job = Job("127.0.0.1", unheard.getsockname()[1], _payloads([1]), 1, 0.1)
        with pytest.raises(TimeoutError):
            asyncio.run(run_job(job))
