"""Brings a database to the tables of this version; never touches one that a newer one wrote."""

import threading
from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection

from serinus.store.failures import StoreError
from serinus.store.rollout_tables import rollouts

__all__ = ["head", "migrate", "revision"]

_SCRIPTS = Path(__file__).with_name("migrations")

# Alembic's `op` is one for the whole process.
_migrating = threading.Lock()


def head() -> str:
    """The newest revision that this version of Serinus knows."""
    return _scripts().get_current_head() or ""


def revision(connection: Connection) -> str | None:
    """The revision that the database is at; None for an empty one."""
    return MigrationContext.configure(connection).get_current_revision()


def migrate(connection: Connection, target: str = "head") -> None:
    """Move the database up to ``target``, or down for ``-1`` and ``base``.

    Runs inside the caller's transaction; raises StoreError when a newer version wrote the database.
    """
    scripts = _scripts()
    downwards = target == "base" or target.startswith("-")

    def steps(current: Any, _context: MigrationContext) -> Any:
        if downwards:
            return scripts._downgrade_revs(target, current)
        return scripts._upgrade_revs(target, current)

    with _migrating, EnvironmentContext(Config(), scripts, fn=steps) as environment:
        environment.configure(connection=connection, target_metadata=rollouts.metadata)
        try:
            environment.run_migrations()
        except CommandError as error:
            raise StoreError(
                f"The store was written by another version of Serinus (revision "
                f"{revision(connection)}; this one knows {head()}). Use that version or a newer "
                f"one, or point SERINUS_HOME or SERINUS_STORE elsewhere."
            ) from error


def _scripts() -> ScriptDirectory:
    return ScriptDirectory(str(_SCRIPTS))
