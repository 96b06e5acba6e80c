import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.responses import MalformedResponse, Response, ResponseReader

_PLAIN = b'HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 9\r\nX-Id: 7\r\n\r\n{"a":[1]}'
_CHUNKED = (
    b"HTTP/1.1 429 Too Many Requests\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"4;note=x\r\nab\r\n\r\n3\r\ncde\r\n0\r\n\r\n"
)
_EMPTY = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
_EXPECTED = {
    _PLAIN: Response(200, b'{"a":[1]}', len(_PLAIN)),
    _CHUNKED: Response(429, b"ab\r\ncde", len(_CHUNKED)),
    _EMPTY: Response(204, b"", len(_EMPTY), keep_alive=False),
}


@given(st.data(), st.sampled_from(list(_EXPECTED)))
def test_an_answer_is_the_same_however_it_is_cut(data, wire):
    cuts = data.draw(st.lists(st.integers(1, len(wire) - 1), unique=True).map(sorted))
    pieces = [wire[a:b] for a, b in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
    reader = ResponseReader()
    for piece in pieces[:-1]:
        assert reader.feed(piece) is None
        assert reader.partial
    assert reader.feed(pieces[-1]) == _EXPECTED[wire]
    assert not reader.partial


def test_one_reader_serves_one_answer_after_another():
    reader = ResponseReader()
    for wire in (_PLAIN, _CHUNKED, _PLAIN):
        assert reader.feed(wire) == _EXPECTED[wire]


@pytest.mark.parametrize(
    ("wire", "why"),
    [
        (b"SSH-2.0-OpenSSH\r\n\r\n", "not a status line"),
        (b"HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n", "not a status line"),
        (b"HTTP/1.1 200 OK\r\n\r\nbody", "end can't be known"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", "content-length is b'many'"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "content-length is b'-1'"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab", "1 bytes more"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "chunk size"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n", "does not end"),
        (b"x" * 70_000, "no end of the head"),
    ],
)
def test_what_is_no_answer_is_refused(wire, why):
    with pytest.raises(MalformedResponse, match=why):
        ResponseReader().feed(wire)
