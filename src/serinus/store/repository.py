"""The Store: everything that must survive, behind one class. Thread-safe, synchronous, no policy.

It decides nothing but what keeps the data whole: what should happen next is the controller's.
"""

from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select, update

from serinus.access import Grant
from serinus.entities import Endpoint, EndpointConfig, RateLimit, ServedEntity
from serinus.errors import ResourceAlreadyExists, ResourceDoesNotExist
from serinus.store import configs, rows, tables
from serinus.store import journal as journals
from serinus.store.acts import about
from serinus.store.audit import Audit
from serinus.store.database import BUSY_TIMEOUT_S, Database
from serinus.store.failures import FencedOut, StoreBusy, StoreError
from serinus.store.instants import to_millis
from serinus.store.journal import JournalEntry
from serinus.store.kept import Kept, routes_now
from serinus.store.live import LiveHours
from serinus.store.outcomes import Outcomes
from serinus.store.reading import live_row, read_endpoints
from serinus.store.rollouts import Rollouts
from serinus.store.samples import Samples
from serinus.store.tokens import Tokens, forget_endpoint
from serinus.store.verifications import Verifications
from serinus.traffic import EndpointRoutes, RouteTable

__all__ = ["FencedOut", "Store", "StoreBusy", "StoreError"]

_endpoints, _configs, _entities = tables.endpoints, tables.configs, tables.served_entities


class Store:
    """Endpoints, their configs, the published routes and the journal.

    Any call may raise StoreBusy (another writer holds the store for too long) or StoreError (it
    can't be used; the message says why). ``journal`` entries are written in the same transaction as
    the change, and only when the change took place. Calls that take ``epoch`` raise FencedOut when
    a newer controller has taken its epoch. What is read is shared between readers: nobody may
    change the dicts in it.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kept = Kept()
        self.rollouts = Rollouts(database)
        self.outcomes = Outcomes(database)
        self.verifications = Verifications(database)
        self.live = LiveHours(database)
        self.tokens = Tokens(database, self._kept)
        self.audit = Audit(database)
        self.samples = Samples(database)

    @classmethod
    def open(cls, url: str, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> "Store":
        """Open ``sqlite:///path`` or ``postgresql+psycopg://…`` and bring its tables up to date."""
        return cls(Database.open(url, busy_timeout_s=busy_timeout_s))

    def close(self) -> None:
        """Let go of the file or the server. Idempotent."""
        self._database.close()

    # --- the controller's turn ------------------------------------------------------------

    def take_epoch(self) -> int:
        """Become the controller: the next epoch, which fences out every earlier one."""
        with self._database.write() as connection:
            connection.execute(update(tables.control).values(epoch=tables.control.c.epoch + 1))
            return _epoch(connection)

    # --- endpoints ------------------------------------------------------------------------

    def create_endpoint(
        self, endpoint: Endpoint, *, journal: Sequence[JournalEntry] = ()
    ) -> Endpoint:
        """Store a new endpoint with its first config; raises ResourceAlreadyExists for its name."""
        with about(endpoint.name), self._database.write() as connection:
            if live_row(connection, endpoint.name) is not None:
                raise ResourceAlreadyExists(
                    f"Serving endpoint with name {endpoint.name} already exists."
                )
            if endpoint.default:
                _clear_default(connection)
            connection.execute(insert(_endpoints).values(rows.endpoint_row(endpoint)))
            for config in (endpoint.active, endpoint.pending):
                if config is not None:
                    configs.insert_config(connection, endpoint.id, config)
            journals.append(connection, journal)
            return _live(connection, endpoint.name)

    def endpoint(self, name: str) -> Endpoint:
        """The endpoint of that name; raises ResourceDoesNotExist."""
        with self._database.read() as connection:
            return _live(connection, name)

    def endpoints(self, *, include_deleted: bool = False) -> tuple[Endpoint, ...]:
        """All endpoints by name; deleted ones, which wait for `purge`, only when asked for."""
        with self._database.read() as connection:
            found = self._kept.endpoints(connection)
        return found if include_deleted else tuple(each for each in found if not each.deleted)

    def config(self, endpoint_id: str, version: int) -> EndpointConfig | None:
        """One config of an endpoint, earlier ones included."""
        with self._database.read() as connection:
            return self._kept.config(connection, endpoint_id, version)

    def put_config(
        self,
        name: str,
        config_from: Callable[[int], EndpointConfig],
        at: datetime,
        *,
        journal: Sequence[JournalEntry] = (),
    ) -> Endpoint:
        """Start an update with the config that ``config_from`` makes for the next version.

        Raises ResourceConflict while another update is in progress.
        """
        with self._database.write() as connection:
            configs.put_pending(connection, configs.live(connection, name), config_from, at)
            journals.append(connection, journal)
            return _live(connection, name)

    def set_fields(
        self,
        name: str,
        *,
        at: datetime,
        description: str | None = None,
        tags: dict[str, str] | None = None,
        default: bool | None = None,
        verify_after: datetime | None = None,
        caller: str | None = None,
        echo: dict[str, object] | None = None,
        rate_limits: tuple[RateLimit, ...] | None = None,
        cache_ttl_s: float | None = None,
        journal: Sequence[JournalEntry] = (),
    ) -> Endpoint:
        """Change what has no part in a config; None leaves a field as it is.

        At most one endpoint is the default: making one so ends it for the other.
        """
        again = None if verify_after is None else to_millis(verify_after)
        fields = {
            "description": description,
            "tags": tags,
            "is_default": default,
            "verify_after": again,
            "caller": caller,
            "echo": echo,
            "rate_limits": None if rate_limits is None else rows.limits_row(rate_limits),
            "cache_ttl_ms": None if cache_ttl_s is None else round(cache_ttl_s * 1000),
        }
        with self._database.write() as connection:
            row = configs.live(connection, name)
            if default:
                _clear_default(connection)
            changed = {key: value for key, value in fields.items() if value is not None}
            configs.update_endpoint(connection, row.id, at, **changed)
            journals.append(connection, journal)
            return _live(connection, name)

    def stop_endpoint(
        self, name: str, at: datetime, *, journal: Sequence[JournalEntry] = ()
    ) -> Endpoint:
        """Let it answer nobody and run nothing. Idempotent.

        Raises ResourceConflict while an update is in progress, InvalidState when nothing serves.
        """
        with self._database.write() as connection:
            if configs.stop(connection, configs.live(connection, name), at):
                journals.append(connection, journal)
            return _live(connection, name)

    def start_endpoint(
        self, name: str, at: datetime, *, journal: Sequence[JournalEntry] = ()
    ) -> Endpoint:
        """Have what it served when it was stopped deployed again, as a new version. Idempotent."""
        with self._database.write() as connection:
            if configs.start(connection, configs.live(connection, name), at):
                journals.append(connection, journal)
            return _live(connection, name)

    def change_tags(
        self,
        name: str,
        change: Callable[[dict[str, str]], dict[str, str]],
        at: datetime,
        *,
        journal: Sequence[JournalEntry] = (),
    ) -> Endpoint:
        """Replace the tags by what ``change`` makes of them, whoever else changes them now."""
        with self._database.write() as connection:
            row = configs.live(connection, name)
            tags = change(dict(row.tags))
            if tags != row.tags:
                configs.update_endpoint(connection, row.id, at, tags=tags)
                journals.append(connection, journal)
            return _live(connection, name)

    def set_echo(
        self, name: str, key: str, value: object, at: datetime, *, journal: Sequence[JournalEntry]
    ) -> Endpoint:
        """Keep one of the fields that are only echoed, beside the others."""
        with self._database.write() as connection:
            row = configs.live(connection, name)
            configs.update_endpoint(connection, row.id, at, echo={**row.echo, key: value})
            journals.append(connection, journal)
            return _live(connection, name)

    def history(
        self, endpoint_id: str, *, before: int | None = None, limit: int = 20
    ) -> tuple[EndpointConfig, ...]:
        """Configs of an endpoint with a version below ``before``, the newest first."""
        with self._database.read() as connection:
            versions = configs.versions(connection, endpoint_id, before, limit)
            found = (self._kept.config(connection, endpoint_id, each) for each in versions)
            return tuple(each for each in found if each is not None)

    def delete_endpoint(
        self, name: str, at: datetime, *, journal: Sequence[JournalEntry] = ()
    ) -> None:
        """Mark as deleted; the name is free at once. Raises ResourceDoesNotExist."""
        with self._database.write() as connection:
            row = configs.live(connection, name)
            configs.update_endpoint(
                connection, row.id, at, deleted_at=to_millis(at), is_default=False
            )
            forget_endpoint(connection, name)
            journals.append(connection, journal)

    def purge(
        self, endpoint_id: str, *, epoch: int | None = None, journal: Sequence[JournalEntry] = ()
    ) -> None:
        """Forget a deleted endpoint, its journal apart. One that is not deleted is left alone."""
        with self._database.write() as connection:
            configs.fence(connection, epoch)
            gone = connection.execute(
                delete(_endpoints).where(
                    _endpoints.c.id == endpoint_id, _endpoints.c.deleted_at.is_not(None)
                )
            )
            if gone.rowcount:
                journals.append(connection, journal)

    # --- the progress of an update --------------------------------------------------------

    def save_entity(
        self,
        endpoint_id: str,
        config_version: int,
        entity: ServedEntity,
        *,
        epoch: int | None = None,
        journal: Sequence[JournalEntry] = (),
    ) -> bool:
        """Keep how far one served entity has come; False when there is no such entity."""
        with self._database.write() as connection:
            configs.fence(connection, epoch)
            saved = connection.execute(
                update(_entities)
                .where(
                    _entities.c.endpoint_id == endpoint_id,
                    _entities.c.version == config_version,
                    _entities.c.name == entity.name,
                )
                .values(rows.entity_progress(entity))
            )
            if saved.rowcount:
                journals.append(connection, journal)
            return bool(saved.rowcount)

    def activate(
        self,
        endpoint_id: str,
        config_version: int,
        at: datetime,
        *,
        epoch: int | None = None,
        journal: Sequence[JournalEntry] = (),
    ) -> bool:
        """Make the pending config the active one; False when that version is not being deployed."""
        with self._database.write() as connection:
            configs.fence(connection, epoch)
            if not configs.activate(connection, endpoint_id, config_version, at):
                return False
            journals.append(connection, journal)
            return True

    def fail(
        self,
        endpoint_id: str,
        config_version: int,
        message: str,
        at: datetime,
        *,
        epoch: int | None = None,
        journal: Sequence[JournalEntry] = (),
    ) -> bool:
        """End an update as failed; False when that version is not being deployed.

        The pending config stays readable: entities that FAILED keep their own message (or get this
        one), all others become ABORTED. The active config is untouched.
        """
        with self._database.write() as connection:
            configs.fence(connection, epoch)
            if not configs.fail(connection, endpoint_id, config_version, message, at):
                return False
            journals.append(connection, journal)
            return True

    # --- routes and the journal -----------------------------------------------------------

    def publish(
        self,
        endpoints: tuple[EndpointRoutes, ...],
        grants: tuple[Grant, ...] = (),
        *,
        epoch: int,
        above: int = 0,
        journal: Sequence[JournalEntry] = (),
    ) -> RouteTable:
        """Make these the routes and the tokens in force, as the next generation.

        The last table when nothing changed. No generation up to ``above`` is given out: gateways
        may have one of that number that the store knows nothing of.
        """
        with self._database.write() as connection:
            configs.fence(connection, epoch)
            last = routes_now(connection)
            same = last.endpoints == endpoints and last.grants == grants
            if same and last.generation >= above:
                return last
            table = RouteTable(max(last.generation, above) + 1, endpoints, grants)
            connection.execute(
                update(tables.routing).values(
                    generation=table.generation,
                    routes=rows.routes_row(endpoints),
                    grants=rows.grants_row(grants),
                )
            )
            journals.append(connection, journal)
            return table

    def routes(self) -> RouteTable:
        """The routes that were last published; generation 0 before the first."""
        with self._database.read() as connection:
            return self._kept.routes(connection)

    def append(self, entries: Sequence[JournalEntry]) -> None:
        """Add to the journal what belongs to no other change."""
        with self._database.write() as connection:
            journals.append(connection, entries)

    def journal(
        self, endpoint_id: str | None = None, *, after: int = 0, limit: int = 1000
    ) -> tuple[JournalEntry, ...]:
        """Entries with an id above ``after``, oldest first."""
        with self._database.read() as connection:
            return journals.read(connection, endpoint_id, after, limit)

    def last_entry(
        self, endpoint_id: str, kind: str, *, version: str | None = None
    ) -> JournalEntry | None:
        """The newest entry of one kind that speaks of the endpoint (and of one version of it)."""
        with self._database.read() as connection:
            return journals.last_of(connection, endpoint_id, kind, version)


def _live(connection: Connection, name: str) -> Endpoint:
    found = read_endpoints(connection, _endpoints.c.name == name, _endpoints.c.deleted_at.is_(None))
    if not found:
        raise ResourceDoesNotExist(configs.MISSING.format(name))
    return found[0]


def _epoch(connection: Connection) -> int:
    return int(connection.execute(select(tables.control.c.epoch)).scalar_one())


def _clear_default(connection: Connection) -> None:
    connection.execute(
        update(_endpoints).where(_endpoints.c.is_default.is_(True)).values(is_default=False)
    )
