"""The server of a home on this machine, spoken to by the owner of that home without a token.

Whoever may read and write the home may do everything anyway; nobody else gets in this way.
"""

import os
import secrets
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from serinus.api.audit import audit_resource, check_resource
from serinus.api.tokens import CreateToken, made_token, token_resource
from serinus.cli.connection import spoken, who
from serinus.cli.output import Exit, fail
from serinus.client import Client
from serinus.server.layout import Layout
from serinus.settings import Settings
from serinus.store.acts import Act, acting
from serinus.store.repository import Store

__all__ = ["AtHome", "at_home"]

Json = dict[str, Any]


class AtHome:
    """The calls of a client about access, on the store of a server that does not run."""

    def __init__(self, store: Store) -> None:
        self._store = store

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


@contextmanager
def at_home(settings: Settings) -> Iterator[Client | AtHome]:
    """The running server by its own socket; else its store. Errors become words and exit codes."""
    layout = Layout(settings.home)
    with spoken():
        if _answers(layout.controller_socket):
            transport = httpx.HTTPTransport(uds=str(layout.controller_socket))
            headers = {"x-serinus-caller": "owner"}
            with Client(
                "http://controller", transport=transport, actor=who(), headers=headers
            ) as client:
                yield client
            return
        try:
            layout.make()
        except OSError as error:
            fail(f"the home can't be used: {error}", Exit.USAGE)
        store = Store.open(settings.store)
        try:
            yield AtHome(store)
        finally:
            store.close()
            _close_to_others(layout.database)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def _close_to_others(database: Path) -> None:
    with suppress(OSError):
        if database.is_file():
            os.chmod(database, 0o600)


def _now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - nobody hands a command its time
