"""Any bytes at all, and right pieces put together wrongly, into everything that parses."""

import gzip
from typing import Any

import pytest
from backports import zstd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serinus.replica.protocol import Format, Frame, Kind, encode
from tests.fuzzing.targets import TARGETS

_PIECES: dict[str, list[bytes]] = {
    "frames": [
        encode(Frame(Kind.REQUEST, 1, b"{}", b"m", Format.JSON, 200, 5, 7)),
        encode(Frame(Kind.PING)),
        b"\xff\xff\xff\xff",
        b"\0\0\0\0",
    ],
    "json": [
        b'{"inputs":',
        b'{"instances":',
        b'{"dataframe_split":{"columns":["double","long"],"data":[[',
        b'"x":',
        b"[1,2]",
        b"[[",
        b"]]",
        b"}",
        b"1e999",
        b"18446744073709551616",
        b'"\\ud800"',
        b"null,",
        b"NaN",
    ],
    "tensors": [
        b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[',
        b'{"inputs":[{"name":"long","shape":[1],"datatype":"INT64","data":[',
        b"]}]}",
        b"1",
        b",",
        b"[1,2]",
        b"null",
        b'"a"',
        b"1e400",
        b'],"parameters":{"binary_data_size":1}}],"id":"x","outputs":[{"name":"o"}]}',
    ],
    "uris": [
        b"models:/",
        b"runs:/",
        b"m",
        b"/",
        b"..",
        b"%2e",
        b"%2f",
        b"@",
        b"1",
        b"file://",
        b"\\",
    ],
    "paths": [
        b"a",
        b"/",
        b".",
        b"..",
        b"%2f",
        b"%2e",
        b"%00",
        b"%c0%ae",
        b"%25",
        b";",
        b"\\",
        b"%",
    ],
    "bodies": [
        gzip.compress(b"abc"),
        gzip.compress(bytes(100_000)),
        zstd.compress(b"abc"),
        b"\x1f\x8b",
    ],
    "http": [
        b"GET / HTTP/1.1\r\n",
        b"POST /a HTTP/1.1\r\n",
        b"HEAD / HTTP/1.1\r\n",
        b"GET / HTTP/1.0\r\n",
        b"host: h\r\n",
        b"content-length: 3\r\n",
        b"transfer-encoding: chunked\r\n",
        b"connection: close\r\n",
        b"connection: upgrade\r\nupgrade: h2c\r\n",
        b"expect: 100-continue\r\n",
        b"x" * 190,
        b"\r\n",
        b"\n",
        b"abc",
        b"3\r\nabc\r\n",
        b"0\r\n",
        b"0\r\n\r\n",
    ],
}


def _bytes(name: str) -> st.SearchStrategy[bytes]:
    pieces: Any = st.sampled_from(_PIECES[name]) | st.binary(max_size=8)
    return st.lists(pieces, max_size=20).map(b"".join) | st.binary(max_size=400)


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_that_comes_breaks_what_parses_it(name: str) -> None:
    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(_bytes(name))
    def run(data: bytes) -> None:
        TARGETS[name](data)

    run()
