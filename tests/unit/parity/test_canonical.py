from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serinus.parity.canonical import MAX_DOCUMENT, ContractBroken, canonical, decode
from serinus.parity.contract import FileEntry, read_contract_bytes

_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text('aäé東z\x00"', max_size=4), inner),
    max_leaves=20,
)


@given(_VALUES)
def test_what_is_written_reads_back_the_same_and_is_written_the_same(value: Any) -> None:
    content = canonical(value)
    again = decode(content, object, "it")
    assert repr(again) == repr(msgspec.json.decode(content))
    assert canonical(again) == content
    assert again == value


@given(st.dictionaries(st.text("abäz東", max_size=3), st.integers(0, 9), min_size=2))
def test_the_order_of_keys_does_not_matter(value: dict[str, int]) -> None:
    assert canonical(value) == canonical(dict(reversed(value.items())))


@pytest.mark.parametrize("value", [float("nan"), [float("inf")], {"a": "\ud800"}, {"\udfff": 1}])
def test_what_json_can_not_say_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"JSON|surrogate"):
        canonical(value)


@pytest.mark.parametrize(
    "content",
    [
        b'{"b":1,"a":2}',
        b'{"a": 1}',
        b'{"a":1,"a":1}',
        b'{"a":1}\n',
        b'{"a":1.50}',
        b'{"a":1',
        b"",
        b"\xff",
        b"[" * 100_000,
        b'{"a":' * 5_000,
    ],
)
def test_other_bytes_are_refused_by_name(content: bytes) -> None:
    with pytest.raises(ContractBroken, match=r"^some\.json .*[Cc]apture the contract again"):
        decode(content, object, "some.json")


def test_too_much_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(ContractBroken, match=f"at most {MAX_DOCUMENT}"):
        decode(b" " * (MAX_DOCUMENT + 1), object, "some.json")


@pytest.mark.parametrize("content", [b"{}", b"[]", b"null", b'{"format":"1"}'])
def test_json_that_is_no_contract_is_refused(content: bytes) -> None:
    with pytest.raises(ContractBroken, match=r"contract\.json can't be read"):
        read_contract_bytes(content)


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(ContractBroken, match="unknown field `surprise`"):
        decode(canonical({"sha256": "a", "size": 1, "surprise": 1}), FileEntry, "some.json")
