"""What a new token is made of, and tokens as people see them: over HTTP, and at a stopped home.

It must not import FastAPI: a command of the second kind would pay for it.
"""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import Field

from serinus.access import EVERY, Right, digest_of, mint, token_id_of
from serinus.api.bodies import NoBody, Text
from serinus.api.resources import rfc3339
from serinus.errors import InvalidParameterValue
from serinus.store.tokens import Token

__all__ = ["CreateToken", "made_token", "rights_from", "token_resource"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9@._-]{0,127}")
_ENDPOINT = re.compile(r"\*|[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
_VERBS = {"view": Right.VIEW, "query": Right.QUERY, "manage": Right.MANAGE}
_LONGEST_S = 100 * 365 * 86400


class CreateToken(NoBody):
    """Whose token, what it may do, and for how long."""

    name: Text
    #: ``query:flight-delay``, ``manage:*``.
    can: list[Text] = Field(default_factory=list, max_length=1000)
    admin: bool = False
    #: Null: for ever.
    expires_in_s: Annotated[float, Field(gt=0, le=_LONGEST_S)] | None = None


def made_token(
    wanted: CreateToken, *, by: str, at: datetime, random: Callable[[int], bytes]
) -> tuple[Token, str]:
    """What is kept of a new token, and the token; raises InvalidParameterValue."""
    if not _NAME.fullmatch(wanted.name):
        raise InvalidParameterValue(
            f"name: {wanted.name[:80]!r} is no name for a token; use letters, digits and @ . _ -, "
            "e.g. ci or ann@example.com."
        )
    if not wanted.can and not wanted.admin:
        raise InvalidParameterValue(
            "The token could do nothing: say what it may do, e.g. query:flight-delay or manage:*, "
            "or make it an administrator's."
        )
    expires_at = at + timedelta(seconds=wanted.expires_in_s) if wanted.expires_in_s else None
    text = mint(random(8), random(32))
    token = Token(
        id=token_id_of(text) or "",
        name=wanted.name,
        digest=digest_of(text),
        created_at=at,
        created_by=by,
        admin=wanted.admin,
        expires_at=expires_at,
        rights=rights_from(wanted.can),
    )
    return token, text


def rights_from(can: list[str]) -> dict[str, Right]:
    """``["query:flight-delay", "view:*"]`` → rights by endpoint; the highest of each counts."""
    rights: dict[str, Right] = {}
    for each in can:
        verb, colon, endpoint = each.partition(":")
        right = _VERBS.get(verb.strip().lower())
        if not colon or right is None or not _ENDPOINT.fullmatch(endpoint):
            raise InvalidParameterValue(
                f"can: {each[:80]!r} is no right; write view:ENDPOINT, query:ENDPOINT or "
                f"manage:ENDPOINT, with {EVERY} for all endpoints."
            )
        rights[endpoint] = max(right, rights.get(endpoint, Right.NONE))
    return rights


def token_resource(token: Token) -> dict[str, Any]:
    """A token as people see it afterwards."""
    return {
        "id": token.id,
        "name": token.name,
        "admin": token.admin,
        "can": [f"{right.name.lower()}:{on}" for on, right in sorted(token.rights.items())],
        "created_at": rfc3339(token.created_at),
        "created_by": token.created_by,
        "expires_at": rfc3339(token.expires_at) if token.expires_at else None,
        "used_at": rfc3339(token.used_at) if token.used_at else None,
    }
