"""The store of a server that does not run, spoken to by the owner of its home.

It knows what is asked about access, and nothing else of a server.
"""

import secrets
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import Any

from serinus.api.audited import audit_resource, check_resource
from serinus.api.minting import CreateToken, made_token, token_resource
from serinus.cli.connection import who
from serinus.store.acts import Act, acting
from serinus.store.repository import Store

__all__ = ["AtHome"]

Json = dict[str, Any]


class AtHome:
    """The calls of a client about access, on the store of a server that does not run."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @classmethod
    @contextmanager
    def opened(cls, url: str) -> "Iterator[AtHome]":
        """The calls over the store at a URL, closed on the way out."""
        with closing(Store.open(url)) as store:
            yield cls(store)

    def create_token(
        self,
        name: str,
        can: Iterable[str] = (),
        *,
        admin: bool = False,
        expires_in_s: float | None = None,
    ) -> Json:
        """See `Client.create_token`."""
        wanted = CreateToken(name=name, can=list(can), admin=admin, expires_in_s=expires_in_s)
        token, text = made_token(wanted, by=who(), at=_now(), random=secrets.token_bytes)
        with acting(Act(who(), "serinus token create", _now())):
            self._store.tokens.create(token)
        return {**token_resource(token), "token": text, "in_force": False}

    def tokens(self) -> list[Json]:
        """See `Client.tokens`."""
        return [token_resource(each) for each in self._store.tokens.all()]

    def revoke_token(self, name: str) -> Json:
        """See `Client.revoke_token`."""
        with acting(Act(who(), "serinus token revoke", _now())):
            self._store.tokens.revoke(name, _now())
        return {"name": name, "in_force": False}

    def audit(
        self, *, endpoint: str | None = None, before: int | None = None, limit: int = 100
    ) -> list[Json]:
        """See `Client.audit`."""
        found = self._store.audit.entries(endpoint=endpoint, before=before, limit=limit)
        return [audit_resource(each) for each in found]

    def check_audit(self) -> Json:
        """See `Client.check_audit`."""
        return check_resource(self._store.audit.verify())


def _now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - nobody hands a command its time
