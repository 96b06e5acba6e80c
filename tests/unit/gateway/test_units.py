"""Where the unit of a request is found, and that a missing one is nothing worse than missing."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serinus.gateway.units import MAX_SEARCHED, finder
from serinus.replica.protocol import Format
from serinus.traffic import Unit, UnitKind


def find(
    unit: Unit,
    headers: list[tuple[bytes, bytes]] | None = None,
    body: bytes = b"{}",
    format_: Format = Format.JSON,
) -> bytes | None:
    search = finder(unit)
    assert search is not None
    return search(headers or [], body, format_)


def test_a_request_that_is_its_own_unit_needs_no_search() -> None:
    assert finder(Unit()) is None


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ([(b"host", b"h"), (b"x-user-id", b" u1 ")], b"u1"),
        ([(b"x-user-id", b"")], None),
        ([(b"x-user", b"u1")], None),
        ([], None),
    ],
)
def test_a_header(headers: list[tuple[bytes, bytes]], found: bytes | None) -> None:
    assert find(Unit(UnitKind.HEADER, "X-User-Id"), headers) == found


@pytest.mark.parametrize(
    ("cookies", "found"),
    [
        ([b"a=1; sid=u1; b=2"], b"u1"),
        ([b"a=1", b"sid=u1"], b"u1"),
        ([b'sid="u1"'], b"u1"),
        ([b"xsid=u2; sid=u1"], b"u1"),
        ([b"xsid=u2"], None),
        ([b"sid="], None),
        ([b"sid"], None),
    ],
)
def test_a_cookie(cookies: list[bytes], found: bytes | None) -> None:
    headers = [(b"cookie", value) for value in cookies]
    assert find(Unit(UnitKind.COOKIE, "sid"), headers) == found


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"instances":[[1]],"context":{"user_id":"u1"}}', b"u1"),
        (b'{"context":{"other":[1,{"user_id":3}],"user_id":7}}', b"7"),
        (b'{"context":{"user_id":"\\u00e9"}}', "é".encode()),
        (b'{"context":{"user_id":""}}', None),
        (b'{"context":{"user_id":null}}', None),
        (b'{"context":{"user_id":true}}', None),
        (b'{"context":{"user_id":["u1"]}}', None),
        (b'{"context":"user_id"}', None),
        (b'{"user_id":"u1"}', None),
        (b"[1,2]", None),
        (b"not json", None),
        (b'{"context":{"user_id":"\xff"}}', None),
        (b'{"deep":' + b"[" * 100_000, None),
    ],
)
def test_a_path_into_the_body(body: bytes, found: bytes | None) -> None:
    assert find(Unit(UnitKind.JSON_PATH, "context.user_id"), body=body) == found


def test_what_is_no_json_or_too_long_is_not_searched() -> None:
    unit = Unit(UnitKind.JSON_PATH, "id")
    assert find(unit, body=b'{"id":"u1"}', format_=Format.CSV) is None
    long = b'{"id":"u1","pad":"' + b"x" * MAX_SEARCHED + b'"}'
    assert find(unit, body=long) is None


@pytest.mark.parametrize("kind", [UnitKind.HEADER, UnitKind.COOKIE, UnitKind.JSON_PATH])
@pytest.mark.parametrize("key", ["", ".", 'a"b', "a\\b", "\x00", "\ud800"])
def test_a_key_that_nothing_can_have_finds_nothing(kind: UnitKind, key: str) -> None:
    headers = [(b"x-user-id", b"u1"), (b"cookie", b"sid=u1")]
    assert find(Unit(kind, key), headers, b'{"a":"u1"}') is None


_NAMES = st.text(st.characters(exclude_characters='."\\', min_codepoint=0x20, codec="utf-8"))


@settings(deadline=None)
@given(st.text(min_size=1), _NAMES)
def test_any_key_and_any_text_are_found(value: str, key: str) -> None:
    body = msgspec.json.encode({"a": 1, key: value})
    assert find(Unit(UnitKind.JSON_PATH, key), body=body) == value.encode()
