"""Hostile HTTP over raw sockets: whatever it is, one clean refusal, and the connection ends."""

import gzip
import json
import random
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack

import psutil
import pytest
from backports import zstd

from serinus.gateway.bounds import EdgeLimits
from serinus.replica.protocol import Format, Frame, Kind
from serinus.settings import Settings
from tests.integration.gateway.gate import PATH, Caller, Gate, Reply, gate, request, within

SMUGGLED = request(b"{}", "/serving-endpoints/smuggled/invocations").decode()
GET = "GET /health HTTP/1.1\r\nhost: h\r\n"
POST = f"POST {PATH} HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\n"


@pytest.fixture(scope="module")
def front() -> Iterator[Gate]:
    with gate() as opened:
        yield opened


def _probe(front: Gate, data: str | bytes) -> list[Reply]:
    with front.dial() as caller:
        return caller.send(data).replies()


MALFORMED = {
    "content-length and chunked": (
        f"{POST}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}"
    ),
    "chunked and content-length": (
        f"{POST}transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n{SMUGGLED}"
    ),
    "bare LF in headers": f"GET /health HTTP/1.1\nhost: h\n\n{SMUGGLED}",
    "bare LF after one header": f"GET /health HTTP/1.1\r\nhost: h\nx: y\r\n\r\n{SMUGGLED}",
    "obs-fold": f"{GET}x: a\r\n b\r\n\r\n",
    "chunk size that is no number": f"{POST}transfer-encoding: chunked\r\n\r\nxyz\r\n{SMUGGLED}",
    "chunk size with a sign": f"{POST}transfer-encoding: chunked\r\n\r\n+2\r\n{{}}\r\n0\r\n\r\n",
    "chunk size with 0x": f"{POST}transfer-encoding: chunked\r\n\r\n0x2\r\n{{}}\r\n0\r\n\r\n",
    "chunk size beyond 64 bits": (
        f"{POST}transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n{{}}"
    ),
    "chunk longer than its size": (
        f"{POST}transfer-encoding: chunked\r\n\r\n1\r\n{{}}\r\n0\r\n\r\n{SMUGGLED}"
    ),
    "chunk extension with a line feed": (
        f"{POST}transfer-encoding: chunked\r\n\r\n2;a\nb\r\n{{}}\r\n0\r\n\r\n{SMUGGLED}"
    ),
    "no Host": "GET /health HTTP/1.1\r\n\r\n",
    "two Hosts": f"{GET}host: other\r\n\r\n",
    "two callers": f"{GET}authorization: Bearer a\r\nauthorization: Bearer b\r\n\r\n",
    "Host with two names": "GET /health HTTP/1.1\r\nhost: a, b\r\n\r\n",
    "Host with a path": "GET /health HTTP/1.1\r\nhost: a/b\r\n\r\n",
    "two content-lengths": f"{POST}content-length: 2\r\ncontent-length: 3\r\n\r\n{{}}x",
    "two equal content-lengths": f"{POST}content-length: 2\r\ncontent-length: 2\r\n\r\n{{}}",
    "a list as content-length": f"{POST}content-length: 2, 2\r\n\r\n{{}}",
    "content-length +3": f"{POST}content-length: +3\r\n\r\n{{}} ",
    "content-length -1": f"{POST}content-length: -1\r\n\r\n{{}}",
    "content-length 1_0": f"{POST}content-length: 1_0\r\n\r\n{{}}        ",
    "content-length 2^64": f"{POST}content-length: 18446744073709551618\r\n\r\n{{}}",
    "transfer-encoding xchunked": f"{POST}transfer-encoding: xchunked\r\n\r\n0\r\n\r\n{SMUGGLED}",
    "transfer-encoding gzip, chunked": (
        f"{POST}transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n{SMUGGLED}"
    ),
    "transfer-encoding twice": (
        f"{POST}transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n"
        f"0\r\n\r\n{SMUGGLED}"
    ),
    "space before the colon": f"{GET}x : y\r\n\r\n",
    "a name that is no name": f"{GET}x(y): z\r\n\r\n",
    "NUL in a value": f"{GET}x: a\0b\r\n\r\n",
    "bare CR in a value": f"{GET}x: a\rb\r\n\r\n",
    "HTTP/1.0 and chunked": (
        f"POST {PATH} HTTP/1.0\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}"
    ),
    "Content_Length": f"{POST}content_length: 2\r\n\r\n{SMUGGLED}",
    "an unknown method": "SERVE /health HTTP/1.1\r\nhost: h\r\n\r\n",
    "HTTP/2 said in HTTP/1": "GET /health HTTP/2.0\r\nhost: h\r\n\r\n",
    "the preface of HTTP/2": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a whole URL": "GET http://other/health HTTP/1.1\r\nhost: h\r\n\r\n",
    "CONNECT": "CONNECT h:80 HTTP/1.1\r\nhost: h\r\n\r\n",
    "an expectation": f"{POST}expect: the-unexpected\r\ncontent-length: 2\r\n\r\n{{}}",
    "no HTTP at all": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}


@pytest.mark.parametrize("probe", MALFORMED.values(), ids=MALFORMED)
def test_27_what_two_readers_could_read_in_two_ways_is_refused(front: Gate, probe: str) -> None:
    replies = _probe(front, probe)
    assert [reply.status for reply in replies] in ([400], [431], [501])
    assert replies[0].headers["connection"] == "close"
    assert replies[0].error["error_code"] in ("BAD_REQUEST", "NOT_IMPLEMENTED")
    assert replies[0].error["message"]


def test_27_requests_before_a_malformed_one_are_answered_first(front: Gate) -> None:
    bad = f"{POST}content-length: -1\r\n\r\n"
    replies = _probe(front, request(b"1") + request(b"2") + bad.encode() + request(b"3"))
    assert [(reply.status, reply.body) for reply in replies[:2]] == [(200, b"1"), (200, b"2")]
    assert [reply.status for reply in replies[2:]] == [400]


def test_27_nothing_follows_an_answer_that_closes(front: Gate) -> None:
    replies = _probe(front, request(b"1", connection="close") + request(b"2"))
    assert [reply.body for reply in replies] == [b"1"]


def test_27_trailers_decide_nothing(front: Gate) -> None:
    chunked = f"{POST}transfer-encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\nhost: other\r\n\r\n"
    replies = _probe(front, chunked.encode() + request(b"2", connection="close"))
    assert [(reply.status, reply.body) for reply in replies] == [(200, b"{}"), (200, b"2")]


def test_an_offer_to_upgrade_is_declined_and_the_request_answered(front: Gate) -> None:
    """As the HTTP client of Java sends its first request."""
    with front.dial() as caller:
        upgrade = {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2_settings": "A"}
        assert caller.ask(b'{"a":1}', **upgrade).body == b'{"a":1}'
        assert caller.ask(b'{"a":2}').body == b'{"a":2}'


def test_a_caller_that_asks_whether_to_go_on_is_told(front: Gate) -> None:
    with front.dial() as caller:
        caller.send(request(b"", content_length="2", expect="100-continue"))
        assert caller.socket.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        reply = caller.send(b"{}").reply()
        assert reply is not None
        assert reply.body == b"{}"


def test_a_caller_that_was_refused_instead_can_not_be_misread(front: Gate) -> None:
    """It may send its body all the same, or the next request."""
    path = "/serving-endpoints/no/invocations"
    with front.dial() as caller:
        caller.send(request(b"", path, content_length="9", expect="100-continue"))
        reply = caller.reply()
        assert reply is not None
        assert (reply.status, reply.headers["connection"]) == (404, "close")
        assert caller.send(SMUGGLED).replies() == []


def test_28_pipelined_requests_are_answered_in_order_one_at_a_time() -> None:
    with gate(lambda _: None) as front, front.dial() as caller:
        caller.send(b"".join(request(b"%d" % number) for number in range(100)))
        received = front.replica.received
        for number in range(100):
            assert within(5, lambda: len(received) > number)  # noqa: B023 - it ends in this turn
            assert front.do(lambda: len(front.door.running)) == 1
            assert [frame.body for frame in received[number:]] == [b"%d" % number]
            answer = Frame(Kind.RESPONSE, received[-1].id, b"to %d" % number, status=200)
            front.do(lambda: front.replica.send(answer))  # noqa: B023 - as above
            reply = caller.reply()
            assert reply is not None
            assert (reply.status, reply.body) == (200, b"to %d" % number)


def test_28_more_than_may_wait_are_refused_after_those_that_may() -> None:
    with gate(max_pipelined=10) as front:
        replies = _probe(front, b"".join(request(b"%d" % number) for number in range(40)))
    assert [reply.body for reply in replies[:-1]] == [b"%d" % each for each in range(10)]
    assert (replies[-1].status, replies[-1].headers["connection"]) == (429, "close")


def test_29_headers_that_never_end_are_cut_off_and_cost_others_nothing() -> None:
    with gate(header_deadline_s=0.5) as front:
        slow = [front.dial().send("GET /health HTTP/1.1\r\nx: ") for _ in range(200)]
        with front.dial() as caller:  # what it costs others is for `python -m bench.hostile`
            assert {caller.ask().status for _ in range(200)} == {200}
        reply = slow[0].reply()
        assert reply is not None
        assert (reply.status, reply.error["error_code"]) == (408, "DEADLINE_EXCEEDED")
        assert slow[0].reply() is None
        assert within(60, lambda: front.connections == 0)
        for each in slow:
            each.__exit__()


def test_29_a_drop_now_and_then_does_not_move_the_deadline() -> None:
    with gate(header_deadline_s=0.4) as front, front.dial() as caller:
        began = time.monotonic()
        caller.send("GET /health HTTP/1.1\r\nx: ")
        while front.connections:
            caller.send("a")
            time.sleep(0.05)
            assert time.monotonic() - began < 10
        reply = caller.reply()
        assert reply is not None
        assert reply.status == 408


def test_30_a_body_that_drips_is_cut_off() -> None:
    with gate(body_grace_s=0.3, body_min_rate=100_000) as front, front.dial() as caller:
        caller.send(request(b"", content_length="1000000"))
        began = time.monotonic()
        while not front.do(lambda: front.door.refused[408]):
            caller.send(b" ")
            time.sleep(0.02)
            assert time.monotonic() - began < 10
        reply = caller.reply()
        assert reply is not None
        assert (reply.status, reply.headers["connection"]) == (408, "close")
        assert caller.reply() is None


def test_30_a_body_that_keeps_up_is_read() -> None:
    with gate(body_grace_s=0.1, body_min_rate=1000) as front, front.dial() as caller:
        caller.send(request(b"", content_length="20000"))
        for _ in range(20):
            caller.send(b" " * 1000)
            time.sleep(0.02)
        reply = caller.reply()
        assert reply is not None
        assert (reply.status, len(reply.body)) == (200, 20_000)


def test_30_a_body_that_began_fast_can_not_rest_on_it() -> None:
    """Most of it at once and then a drop now and then: it keeps up, and its room is not free."""
    mib = 1 << 20
    with (
        gate(body_grace_s=0.1, body_min_rate=1000, body_deadline_s=1.5) as front,
        front.dial() as caller,
    ):
        caller.send(request(b" " * mib, content_length=str(4 * mib)))
        while not front.do(lambda: front.door.refused[408]):
            caller.send(b" ")
            time.sleep(0.02)
        reply = caller.reply()
        assert reply is not None
        assert (reply.status, reply.headers["connection"]) == (408, "close")
        assert "longer than the 1.5 s it may" in reply.error["message"]
        assert caller.reply() is None
        assert within(10, lambda: front.held == 0)
        assert front.replica.received == []


def test_30_the_time_for_a_body_ends_with_it() -> None:
    """What the model takes, or the caller until its next request, is not of it."""
    with gate(lambda _: None, body_deadline_s=0.2) as front, front.dial() as caller:
        for number in range(2):
            caller.send(request(b"{}"))
            assert within(10, lambda: len(front.replica.received) > number)  # noqa: B023
            time.sleep(0.5)
            answer = Frame(Kind.RESPONSE, front.replica.received[-1].id, b"1", status=200)
            front.do(lambda: front.replica.send(answer))  # noqa: B023
            reply = caller.reply()
            assert reply is not None
            assert (reply.status, reply.body) == (200, b"1")


def test_30_the_largest_body_passes_slowly_but_steadily_by_default() -> None:
    limits = EdgeLimits()
    slowest = limits.max_body / limits.body_deadline_s
    assert slowest < 64 * 1024  # bytes a second: half of what a poor line does
    assert limits.body_deadline_s == Settings().body_deadline


def test_32_big_slow_bodies_together_stay_within_their_bound() -> None:
    mib = 1 << 20
    with gate(max_bodies=10 * mib) as front, ExitStack() as stack:
        before = psutil.Process().memory_info().rss
        callers = [stack.enter_context(front.dial()) for _ in range(40)]
        begun = request(b" " * mib, content_length=str(4 * mib))
        for caller in callers[:2]:
            caller.send(begun)
        assert within(10, lambda: front.held == 8 * mib)
        for caller in callers[2:]:
            # Its head is all that has come, and it need not send the rest.
            caller.send(request(b"", content_length=str(4 * mib), expect="100-continue"))
            refused = caller.reply()
            assert refused is not None
            assert (refused.status, refused.headers["retry-after"]) == (503, "1")
            assert "8388608 of at most 10485760 bytes" in refused.error["message"]
            assert caller.reply() is None
        with front.dial() as small:
            assert small.ask(b" " * 50_000).status == 200
        with front.dial() as chunked:  # nobody knew how much it would be
            part = b"%x\r\n%b\r\n" % (mib, b" " * mib)
            chunked.send(request(b"", content_length="", transfer_encoding="chunked") + part * 3)
            refused = chunked.reply()
            assert refused is not None
            assert refused.status == 503
        assert psutil.Process().memory_info().rss - before < 40 * mib
        callers[0].__exit__()
        callers[1].send(b" " * 3 * mib)
        answered = callers[1].reply()
        assert answered is not None
        assert (answered.status, len(answered.body)) == (200, 4 * mib)
        with front.dial() as last:  # all of it is free again
            assert last.ask(b" " * 9 * mib).status == 200
            assert last.ask(gzip.compress(b" " * mib)[:-9], content_encoding="gzip").status == 400
            assert last.ask(b" " * 9 * mib).status == 200


def test_30_an_answer_that_nobody_takes_is_dropped() -> None:
    size = 30_000_000

    def answer(frame: Frame) -> Frame:
        return Frame(Kind.RESPONSE, frame.id, b" " * size, format=Format.JSON, status=200)

    with gate(answer, send_deadline_s=0.4) as front:
        with Caller(front.port, receive_buffer=4096) as caller:
            caller.send(request())
            assert within(10, lambda: front.connections == 1)
            assert within(10, lambda: front.connections == 0)
            got = 0
            try:
                while part := caller.socket.recv(1 << 20):
                    got += len(part)
            except ConnectionResetError:
                pass
            assert got < size
        with front.dial() as other:
            assert len(other.ask().body) == size


def test_31_connections_over_the_cap_are_told_so_and_the_rest_live_on() -> None:
    with gate(max_connections=20) as front:
        held = [front.dial() for _ in range(20)]
        assert all(each.ask().status == 200 for each in held)
        for _ in range(5):
            with front.dial() as caller:
                reply = caller.reply()
                assert reply is not None
                assert reply.status == 503
                assert reply.headers["retry-after"] == "1"
                assert caller.reply() is None
        assert all(each.ask().status == 200 for each in held)
        held.pop().__exit__()
        assert within(5, lambda: front.connections == 19)
        with front.dial() as caller:
            assert caller.ask().status == 200
        for each in held:
            each.__exit__()


def test_31_idle_connections_are_cheap_and_closed_in_time() -> None:
    with gate(keep_alive_s=1.0) as front:
        before = psutil.Process().memory_info().rss
        idle = [front.dial() for _ in range(400)]
        assert within(10, lambda: front.connections == 400)
        assert psutil.Process().memory_info().rss - before < 400 * 40_000  # both ends of each
        assert within(10, lambda: front.connections == 0)
        assert idle[0].reply() is None
        for each in idle:
            each.__exit__()


def test_32_a_body_over_the_limit_is_refused_before_it_is_read() -> None:
    with gate(max_body=100_000) as front:
        began = psutil.Process().memory_info().rss
        with front.dial() as caller:
            caller.send(request(b"", content_length="100001"))
            reply = caller.reply()
            assert reply is not None
            assert reply.status == 413
            assert reply.error["error_code"] == "INVALID_PARAMETER_VALUE"
            assert caller.reply() is None
        with front.dial() as caller:
            caller.send(f"{POST}transfer-encoding: chunked\r\n\r\n")
            for _ in range(200):
                caller.send(b"2710\r\n" + b" " * 10_000 + b"\r\n")
            reply = caller.reply()
            assert reply is not None
            assert reply.status == 413
        assert psutil.Process().memory_info().rss - began < 20_000_000
        assert front.replica.received == []


def test_33_a_body_in_chunks_of_one_byte_is_refused_cheaply(front: Gate) -> None:
    drips = f"{POST}transfer-encoding: chunked\r\n\r\n".encode() + b"1\r\n \r\n" * 500_000
    before = psutil.Process().cpu_times()
    replies = _probe(front, drips)
    after = psutil.Process().cpu_times()
    assert [reply.status for reply in replies] == [400]
    assert "chunks" in replies[0].error["message"]
    assert after.user + after.system - before.user - before.system < 1


def test_33_many_small_chunks_are_refused_before_they_cost_anything(front: Gate) -> None:
    drips = f"{POST}transfer-encoding: chunked\r\n\r\n".encode() + b"1\r\n \r\n" * 1100
    [reply] = _probe(front, drips)
    assert (reply.status, reply.headers["connection"]) == (400, "close")
    assert "less than 64 bytes on average" in reply.error["message"]


def test_33_chunks_that_are_mostly_extensions_are_refused(front: Gate) -> None:
    chunk = b"1;" + b"a" * 8000 + b"\r\n \r\n"
    for flood in (chunk * 100, b"1;" + b"a" * 1_000_000, b"0\r\nx: " + b"a" * 1_000_000):
        replies = _probe(front, f"{POST}transfer-encoding: chunked\r\n\r\n".encode() + flood)
        assert [reply.status for reply in replies] in ([400], [431])


def test_33_a_thousand_small_chunks_are_fine(front: Gate) -> None:
    body = b"1\r\n \r\n" * 999 + b"0\r\n\r\n"
    with front.dial() as caller:
        caller.send(f"{POST}transfer-encoding: chunked\r\n\r\n".encode() + body)
        reply = caller.reply()
        assert reply is not None
        assert (reply.status, len(reply.body)) == (200, 999)


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_34_a_compressed_body_is_read(front: Gate, coding: str) -> None:
    body = json.dumps({"instances": list(range(20_000))}).encode()
    packed = gzip.compress(body) if coding == "gzip" else zstd.compress(body)
    with front.dial() as caller:
        assert caller.ask(packed, content_encoding=coding).body == body
        assert caller.ask(packed + packed, content_encoding=coding).body == body + body


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_34_a_bomb_stops_at_the_limit(front: Gate, coding: str) -> None:
    packer = zlib.compressobj(wbits=31) if coding == "gzip" else zstd.ZstdCompressor()
    bomb = b"".join(packer.compress(bytes(1 << 24)) for _ in range(8)) + packer.flush()
    before = psutil.Process().memory_info().rss
    with front.dial() as caller:
        reply = caller.ask(bomb, content_encoding=coding)
    assert (reply.status, reply.error["error_code"]) == (413, "INVALID_PARAMETER_VALUE")
    assert psutil.Process().memory_info().rss - before < 30_000_000


def test_34_a_body_within_the_ratio_stops_at_the_limit_too(front: Gate) -> None:
    body = gzip.compress(random.Random(1).randbytes(1_100_000).hex().encode(), 1)  # noqa: S311
    with front.dial() as caller:
        reply = caller.ask(body, content_encoding="gzip")
    assert reply.status == 413
    assert "2097152 bytes once it is decompressed" in reply.error["message"]


def test_34_what_grows_out_of_proportion_is_refused(front: Gate) -> None:
    with front.dial() as caller:
        reply = caller.ask(gzip.compress(bytes(1_500_000)), content_encoding="gzip")
    assert reply.status == 413
    assert "100 times" in reply.error["message"]


@pytest.mark.parametrize("value", ["gzip, gzip", "br", "gzip\r\ncontent-encoding: gzip"])
def test_34_codings_that_are_not_read(front: Gate, value: str) -> None:
    with front.dial() as caller:
        packed = gzip.compress(gzip.compress(b"{}"))
        assert caller.ask(packed, content_encoding=value).status == 415


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
@pytest.mark.parametrize("spoil", ["cut", "other"])
def test_34_a_spoilt_body_is_the_callers_fault(front: Gate, coding: str, spoil: str) -> None:
    packed = gzip.compress(b"{}" * 50) if coding == "gzip" else zstd.compress(b"{}" * 50)
    with front.dial() as caller:
        body = packed[:-6] if spoil == "cut" else b"{}" + packed
        reply = caller.ask(body, content_encoding=coding)
        assert (reply.status, reply.error["error_code"]) == (400, "BAD_REQUEST")
        assert caller.ask().status == 200


@pytest.mark.parametrize(
    "headers",
    [
        f"x: {'a' * 1_000_000}\r\n",
        "".join(f"x{number}: y\r\n" for number in range(20_000)),
        "".join(f"x{number}: {'y' * 7000}\r\n" for number in range(50)),
        f"x: {'a' * 8200}\r\n",
        "".join(f"x{number}: y\r\n" for number in range(100)),
    ],
    ids=["1 MB", "20k", "350 kB", "8.2 kB", "101"],
)
def test_35_headers_over_the_limits_are_refused(front: Gate, headers: str) -> None:
    replies = _probe(front, f"{GET}{headers}\r\n")
    assert [reply.status for reply in replies] == [431]
    assert replies[0].headers["connection"] == "close"
    assert replies[0].error["error_code"] == "BAD_REQUEST"


def test_35_a_header_that_has_no_end_is_refused_at_the_limit(front: Gate) -> None:
    began = time.monotonic()
    with front.dial() as caller:
        reply = caller.send(f"{GET}x: " + "a" * 600_000).reply()
        assert reply is not None
        assert reply.status == 431
    assert time.monotonic() - began < front.limits.header_deadline_s / 2


def test_35_headers_at_the_limits_are_taken(front: Gate) -> None:
    headers = f"x: {'a' * 8191}\r\n" + "".join(f"x{number}: y\r\n" for number in range(98))
    with front.dial() as caller:
        reply = caller.send(f"{GET}{headers}\r\n").reply()
        assert reply is not None
        assert reply.status == 200


def test_35_a_request_line_over_the_limit_is_refused(front: Gate) -> None:
    replies = _probe(front, f"GET /{'a' * 9000} HTTP/1.1\r\nhost: h\r\n\r\n")
    assert [reply.status for reply in replies] == [414]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/serving-endpoints/e/..%2f..%2fetc/passwd", 404),
        ("/serving-endpoints/e%2finvocations", 404),
        ("/serving-endpoints/../serving-endpoints/e/invocations", 404),
        ("/serving-endpoints/%2e%2e/e/invocations", 404),
        ("/serving-endpoints/./e/invocations", 404),
        ("//serving-endpoints/e/invocations", 404),
        ("/serving-endpoints//e/invocations", 404),
        ("/serving-endpoints/e/invocations/", 404),
        ("/serving-endpoints/e;x=1/invocations", 404),
        ("/serving-endpoints/e/invocations;x", 404),
        ("/serving-endpoints/e%5cinvocations", 404),
        ("/serving-endpoints/e%00/invocations", 400),
        ("/serving-endpoints/e%0d%0ax/invocations", 400),
        ("/serving-endpoints/%c0%ae%c0%ae/invocations", 400),
        ("/serving-endpoints/e%2/invocations", 400),
        ("/serving-endpoints/%2565/invocations", 404),
        ("/serving-endpoints/e/invocations#x", 400),
        ("*", 400),
        ("serving-endpoints/e/invocations", 400),
    ],
)
def test_36_paths_are_decoded_once_and_matched_whole(front: Gate, path: str, status: int) -> None:
    with front.dial() as caller:
        reply = caller.ask(path=path)
    assert reply.status == status
    assert reply.error["error_code"] in ("RESOURCE_DOES_NOT_EXIST", "BAD_REQUEST")


def test_36_an_encoded_letter_is_the_letter(front: Gate) -> None:
    with front.dial() as caller:
        assert caller.ask(path="/serving-endpoints/%65/invocations?a=%00").status == 200


def test_a_storm_of_callers_at_once_is_answered(front: Gate) -> None:
    """What is refused to some costs the others nothing."""
    wrong: list[object] = []

    def ask(number: int) -> None:
        for turn in range(30):
            if number % 2:
                replies = _probe(front, MALFORMED["content-length -1"])
                wrong.extend(reply for reply in replies if reply.status != 400)
            else:
                with front.dial() as caller:
                    body = b"%d.%d" % (number, turn)
                    reply = caller.ask(body)
                    if reply.body != body:
                        wrong.append(reply)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
