"""Tokens and the rights of those who hold them. A token itself never gets here, only its digest.

A right belongs to a name, which one token has at a time; it ends with the token, and with the
endpoint.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select, update

from serinus.access import Grant, Right
from serinus.errors import ResourceAlreadyExists, ResourceDoesNotExist
from serinus.store import access_tables as tables
from serinus.store.database import Database
from serinus.store.instants import from_millis, to_millis
from serinus.store.kept import Kept

__all__ = ["Token", "Tokens", "forget_endpoint"]

_tokens, _grants, _uses = tables.tokens, tables.grants, tables.token_uses


@dataclass(frozen=True, slots=True)
class Token:
    """A token as people see it afterwards."""

    id: str
    name: str
    digest: str
    created_at: datetime
    created_by: str
    admin: bool = False
    expires_at: datetime | None = None
    #: Endpoint name or ``*`` → right.
    rights: dict[str, Right] = field(default_factory=dict)
    #: Of the last minutes only roughly.
    used_at: datetime | None = None


class Tokens:
    """See `serinus.store.repository.Store` for what every call may raise."""

    def __init__(self, database: Database, kept: Kept) -> None:
        self._database = database
        self._kept = kept

    def create(self, token: Token) -> None:
        """Keep a new token; raises ResourceAlreadyExists for the name of one in force."""
        with self._database.write() as connection:
            if _id_of(connection, token.name) is not None:
                raise ResourceAlreadyExists(
                    f"A token named '{token.name}' exists already. Revoke that one first "
                    f"(serinus token revoke {token.name}), or choose another name."
                )
            expires_at = None if token.expires_at is None else to_millis(token.expires_at)
            connection.execute(
                insert(_tokens).values(
                    id=token.id,
                    name=token.name,
                    digest=token.digest,
                    admin=token.admin,
                    created_at=to_millis(token.created_at),
                    created_by=token.created_by,
                    expires_at=expires_at,
                )
            )
            for endpoint, right in token.rights.items():
                _set(connection, token.name, endpoint, right)

    def revoke(self, name: str, at: datetime) -> None:
        """End a token and the rights of its name; raises ResourceDoesNotExist."""
        with self._database.write() as connection:
            _known(connection, name)
            connection.execute(
                update(_tokens)
                .where(_tokens.c.name == name, _tokens.c.revoked_at.is_(None))
                .values(revoked_at=to_millis(at))
            )
            connection.execute(delete(_grants).where(_grants.c.principal == name))

    def all(self) -> tuple[Token, ...]:
        """Those that are not revoked, by name; expired ones included."""
        query = (
            select(_tokens, _uses.c.used_at)
            .outerjoin(_uses, _uses.c.token_id == _tokens.c.id)
            .where(_tokens.c.revoked_at.is_(None))
            .order_by(_tokens.c.name)
        )
        with self._database.read() as connection:
            grants = {grant.name: grant for grant in self._kept.grants(connection)}
            return tuple(
                Token(
                    id=row.id,
                    name=row.name,
                    digest=row.digest,
                    created_at=from_millis(row.created_at),
                    created_by=row.created_by,
                    admin=row.admin,
                    expires_at=None if row.expires_at is None else from_millis(row.expires_at),
                    rights=grants[row.name].rights,
                    used_at=None if row.used_at is None else from_millis(row.used_at),
                )
                for row in connection.execute(query)
            )

    def grants(self) -> tuple[Grant, ...]:
        """What gateways must know: every token in force, by id. Shared between readers."""
        with self._database.read() as connection:
            return self._kept.grants(connection)

    def set_rights(self, endpoint: str, rights: Mapping[str, Right], *, replace: bool) -> None:
        """Give rights to an endpoint by token name; ``replace`` takes away all that is not named.

        Raises ResourceDoesNotExist for a name that no token has.
        """
        with self._database.write() as connection:
            for name in rights:
                _known(connection, name)
            if replace:
                connection.execute(delete(_grants).where(_grants.c.endpoint == endpoint))
            for name, right in rights.items():
                _set(connection, name, endpoint, right)

    def note_uses(self, uses: Mapping[str, float]) -> None:
        """Keep when tokens were used, seconds since the epoch by token id."""
        with self._database.write() as connection:
            for token_id, seconds in uses.items():
                used_at = int(seconds * 1000)
                mine = _uses.c.token_id == token_id
                known = connection.execute(select(_uses.c.used_at).where(mine)).scalar_one_or_none()
                if known is None:
                    connection.execute(insert(_uses).values(token_id=token_id, used_at=used_at))
                elif known < used_at:
                    connection.execute(update(_uses).where(mine).values(used_at=used_at))


def forget_endpoint(connection: Connection, endpoint: str) -> None:
    """Whoever takes the name next starts with nobody's rights."""
    connection.execute(delete(_grants).where(_grants.c.endpoint == endpoint))


def _id_of(connection: Connection, name: str) -> str | None:
    mine = (_tokens.c.name == name) & _tokens.c.revoked_at.is_(None)
    found: str | None = connection.execute(select(_tokens.c.id).where(mine)).scalar_one_or_none()
    return found


def _known(connection: Connection, name: str) -> None:
    if _id_of(connection, name) is None:
        raise ResourceDoesNotExist(
            f"There is no token named '{name[:80]}'; `serinus token list` shows those there are."
        )


def _set(connection: Connection, name: str, endpoint: str, right: Right) -> None:
    mine = (_grants.c.principal == name) & (_grants.c.endpoint == endpoint)
    connection.execute(delete(_grants).where(mine))
    if right:
        values = {"principal": name, "endpoint": endpoint, "level": int(right)}
        connection.execute(insert(_grants).values(values))
