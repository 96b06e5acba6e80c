"""Tokens as text: their shape, their checksum, what is kept of them; and what rights come to."""

import pytest

from serinus.access import EVERY, Grant, Right, digest_of, mint, token_id_of

TOKEN = mint(b"12345678", b"s" * 32)


def test_a_token_is_found_by_its_id_and_shows_its_kind() -> None:
    assert TOKEN.startswith("srn_")
    assert len(TOKEN) == 65
    assert token_id_of(TOKEN) == TOKEN[4:15]
    assert mint(b"12345678", b"t" * 32)[4:15] == TOKEN[4:15]
    assert digest_of(TOKEN) != digest_of(mint(b"12345678", b"t" * 32))


def test_all_tokens_have_one_length() -> None:
    for fill in (b"\0", b"\1", b"\xff"):
        token = mint(fill * 8, fill * 32)
        assert len(token) == 65
        assert token_id_of(token) is not None


@pytest.mark.parametrize("at", range(4, 65))
def test_a_slip_in_any_place_is_seen(at: int) -> None:
    other = "x" if TOKEN[at] != "x" else "y"
    assert token_id_of(TOKEN[:at] + other + TOKEN[at + 1 :]) is None


@pytest.mark.parametrize("text", ["", "srn_", "dapi123", TOKEN[:-1], TOKEN + "0", TOKEN + "\n"])
def test_what_is_no_token(text: str) -> None:
    assert token_id_of(text) is None


def test_rights_include_lesser_ones_and_those_to_all() -> None:
    grant = Grant("i", "n", "d", rights={"a": Right.QUERY, EVERY: Right.VIEW})
    assert grant.right("a") is Right.QUERY
    assert grant.right("b") is Right.VIEW
    assert Grant("i", "n", "d").right("a") is Right.NONE
    assert Grant("i", "n", "d", admin=True).right("anything") is Right.MANAGE
    assert [right.level for right in Right] == ["", "CAN_VIEW", "CAN_QUERY", "CAN_MANAGE"]


def test_it_ends_at_its_time() -> None:
    grant = Grant("i", "n", "d", expires_at=100.0)
    assert not grant.expired(99.9)
    assert grant.expired(100.0)
    assert not Grant("i", "n", "d").expired(1e12)
