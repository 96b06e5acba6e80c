"""A connection to the store's database: opened, configured, its transactions and its errors.

Reads see one snapshot; every write holds the one write lock from its first statement on, so that
nothing is ever read, changed and written back over somebody else's change.
"""

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import (
    URL,
    Connection,
    Engine,
    UpdateBase,
    create_engine,
    event,
    select,
    text,
    update,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from serinus.errors import InvalidParameterValue
from serinus.store import access_tables, tables
from serinus.store.acts import current_act, described, record
from serinus.store.failures import StoreAway, StoreBusy, StoreError
from serinus.store.versions import bring_up_to_date

__all__ = ["BUSY_TIMEOUT_S", "Database"]

#: Seconds that a writer waits for another one.
BUSY_TIMEOUT_S = 5.0

# Any number will do, as long as nobody else on the server uses it.
_MIGRATION_LOCK = 0x5E_1205

#: What the counter of changes counts (see `serinus.store.kept`), and where it is noted meanwhile.
_COUNTED = frozenset(
    {tables.endpoints, tables.configs, tables.served_entities}
    | {access_tables.tokens, access_tables.grants}
)
_CHANGED = "serinus_changed"
#: Whether a transaction wrote anything, for the record of who did it.
_WROTE = "serinus_wrote"


class Database:
    """An engine with the store's rules for transactions."""

    def __init__(self, engine: Engine, *, busy_timeout_s: float) -> None:
        self._engine = engine
        event.listen(engine, "after_execute", _note_change)
        self._where = _where(engine.url)
        #: Where it is kept on this machine; None for a server's.
        self._file = _file(engine.url)
        self._busy_timeout_s = busy_timeout_s
        # Threads of one process queue here: SQLite's own lock is polled, and can starve one.
        self._writing = threading.Lock()

    @classmethod
    def open(cls, url: str, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> "Database":
        """Connect, and bring the tables up to date; raises StoreError with the way out."""
        database = cls(
            _engine(_checked(url), busy_timeout_s=busy_timeout_s), busy_timeout_s=busy_timeout_s
        )
        try:
            with database._translated(), database._begin(write=True) as connection:
                if connection.dialect.name == "postgresql":
                    connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
                bring_up_to_date(connection)
        except BaseException:
            database.close()
            raise
        return database

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One snapshot of everything."""
        with self._translated(), self._begin(write=False) as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that no other writer shares; commits at the end, rolls back on any error.

        Raises StoreBusy when other writers don't finish within the busy timeout.
        """
        if not self._writing.acquire(timeout=self._busy_timeout_s):
            raise self._busy()
        try:
            with self._translated(), self._begin(write=True) as connection:
                # PostgreSQL's counterpart of BEGIN IMMEDIATE; SQLite renders no FOR UPDATE.
                connection.execute(select(tables.control.c.epoch).with_for_update())
                for note in (_CHANGED, _WROTE):  # of a transaction that was rolled back
                    connection.info.pop(note, None)
                act = current_act()
                before = described(connection, act) if act is not None else {}
                yield connection
                if act is not None and connection.info.pop(_WROTE, False):
                    record(connection, act, before)
                if connection.info.pop(_CHANGED, False):
                    count = tables.control.c.changes + 1
                    connection.execute(update(tables.control).values(changes=count))
        finally:
            self._writing.release()

    def close(self) -> None:
        """Let go of the file or the server."""
        self._engine.dispose()

    @contextmanager
    def _begin(self, *, write: bool) -> Iterator[Connection]:
        options: dict[str, Any] = {"serinus_write": write}
        if self._engine.dialect.name == "postgresql":
            # A writer must see what was committed while it waited for its turn.
            options["isolation_level"] = "READ COMMITTED" if write else "REPEATABLE READ"
        with self._engine.connect().execution_options(**options) as connection, connection.begin():
            yield connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except PoolTimeout as error:
            raise self._busy() from error
        except IntegrityError:
            # Not the store's fault but the caller's.
            raise
        except DBAPIError as error:
            cause = str(error.orig)
            if "NUL (0x00)" in cause:
                raise InvalidParameterValue(
                    "A name or text holds the character U+0000, which PostgreSQL can't keep. "
                    "Leave it out."
                ) from error
            if "locked" in cause or "lock timeout" in cause:
                raise self._busy() from error
            if self._engine.dialect.name == "postgresql" and _is_away(error):
                raise StoreAway(
                    f"The store {self._where} does not answer: {cause.strip()}. What is served "
                    f"goes on; changes have to wait until the server is back.",
                    retry_after=1,
                ) from error
            raise StoreError(
                f"The store {self._where} can't be used: {cause}. {_way_out(cause, self._file)}"
            ) from error

    def _busy(self) -> StoreBusy:
        return StoreBusy(
            f"The store {self._where} has been locked by another writer for more than "
            f"{self._busy_timeout_s:g} s. Try again, or look for another process that uses it.",
            retry_after=1,
        )


def _checked(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise StoreError(
            f"{url!r} is no store. Write sqlite:///path/to/serinus.db or postgresql+psycopg://…"
        ) from error
    if parsed.get_backend_name() not in {"sqlite", "postgresql"}:
        raise StoreError(
            f"A store can't be kept in {parsed.get_backend_name()}. "
            f"Write sqlite:///path/to/serinus.db or postgresql+psycopg://…"
        )
    if parsed.get_backend_name() == "sqlite" and parsed.database in {None, "", ":memory:"}:
        # Each connection would see a database of its own.
        raise StoreError("A store can't be kept in memory. Write sqlite:///path/to/serinus.db")
    return parsed


def _engine(url: URL, *, busy_timeout_s: float) -> Engine:
    millis = int(busy_timeout_s * 1000)
    if url.get_backend_name() == "sqlite":
        engine = create_engine(
            url,
            connect_args={"timeout": busy_timeout_s},
            pool_size=8,
            json_deserializer=_from_json,
        )
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    try:
        return create_engine(
            url,
            pool_pre_ping=True,
            json_deserializer=_from_json,
            connect_args={"options": f"-c lock_timeout={millis}"},
        )
    except ModuleNotFoundError as error:
        raise StoreError(
            f"A PostgreSQL store needs {error.name}: install it with pip install 'psycopg[binary]'."
        ) from error


def _from_json(text: str | bytes) -> Any:
    """Journal entries are large and often read; only NaN and the like need the slower reader."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return json.loads(text)


def _configure_sqlite(connection: Any, _record: object) -> None:
    # Hands transactions to the `begin` event: the driver's own guess would start them too late.
    connection.isolation_level = None
    cursor = connection.cursor()
    try:
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
    finally:
        cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    write = connection.get_execution_options().get("serinus_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _note_change(connection: Connection, statement: Any, *_: object) -> None:
    """Whoever writes need not think of the counter, so nobody can forget it."""
    if isinstance(statement, UpdateBase):
        connection.info[_WROTE] = True
        if statement.table in _COUNTED:
            connection.info[_CHANGED] = True


def _where(url: URL) -> str:
    """The store as people know it, without its password."""
    if url.get_backend_name() == "sqlite":
        return url.database or str(url)
    host = url.host or url.query.get("host") or "localhost"
    return f"{url.database} on {host}"


def _file(url: URL) -> Path | None:
    if url.get_backend_name() != "sqlite" or not url.database:
        return None
    return Path(url.database)


def _is_away(error: DBAPIError) -> bool:
    """Whether the server is down, starting or stopping, not whether it refuses us."""
    state: str | None = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return state.startswith(("08", "57P"))
    # No server, no state: what the client library says has to do.
    said = str(error.orig)
    gone = error.connection_invalidated or "connection" in said
    return gone and "FATAL" not in said


def _way_out(cause: str, file: Path | None) -> str:
    if "unable to open" in cause:
        return "Check that its folder exists and that this user may write there."
    if "readonly" in cause:
        return "Give this user the right to write to the file and its folder."
    if "is full" in cause or "No space left" in cause:
        return _make_room(file)
    if "authentication failed" in cause or "does not exist" in cause:
        return "Check the user, the password and the database's name in SERINUS_STORE."
    if "not a database" in cause or "malformed" in cause:
        return "Restore it from a backup, or move it away to start with an empty one."
    return "Check the file, its disk and its rights."


def _make_room(file: Path | None) -> str:
    """Which disk to make room on, and what it has left."""
    if file is None:
        return "Make room on the disk of the database server. What is served goes on meanwhile."
    folder = file.absolute().parent
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:  # the folder itself is gone, or its disk
        left = f"which can't be asked what it has left ({error.strerror})"
    else:
        left = f"which has {free:,} bytes left"
    return (
        f"Make room on the disk of {folder}, {left}, or look for a quota on it; what is served "
        "goes on meanwhile, and nothing has to be restarted."
    )
