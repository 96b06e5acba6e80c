"""Who sent a request, and what goes with it to the replica."""

import pytest

from serinus.gateway.caller import Callers
from serinus.replica.protocol import Format
from serinus.traffic import Unit, UnitKind


@pytest.mark.parametrize(
    ("unit", "meta"),
    [
        (None, b"web\0id"),
        (Unit(UnitKind.HEADER, "x-team"), b"air\0id"),
        (Unit(UnitKind.JSON_PATH, "context.team"), b"body\0id"),
        (Unit(UnitKind.HEADER, "x-none"), b"\0id"),
        (Unit(UnitKind.JSON_PATH, "context.none"), b"\0id"),
    ],
)
def test_the_caller_is_found_where_the_policy_says(unit: Unit | None, meta: bytes) -> None:
    headers = [(b"x-caller", b"web"), (b"x-team", b" air ")]
    body = b'{"context": {"team": "body"}}'
    assert Callers(unit).meta(headers, body, Format.JSON, b"id") == meta


def test_names_are_bounded_and_can_not_pass_for_more_than_a_name() -> None:
    body = b'{"who": "a\\u0000b"}'
    callers = Callers(Unit(UnitKind.JSON_PATH, "who"))
    assert callers.meta([], body, Format.JSON, b"id") == b"a?b\0id"
    long = Callers(None).meta([(b"x-caller", b"n" * 500)], b"", Format.JSON, b"id")
    assert long == b"n" * 64 + b"\0id"


def test_the_name_of_the_token_stands_in_for_one_that_was_not_given() -> None:
    callers = Callers(None, token_name=lambda _: b"team-a")
    assert callers.meta([], b"", Format.JSON, b"id") == b"team-a\0id"
    assert callers.meta([(b"x-caller", b"web")], b"", Format.JSON, b"id") == b"web\0id"
