"""A store in memory, held to the same suite as the real one. Never for production.

It checks what the database checks (transactions, fences, unique names) and nothing more.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from operator import is_not

from serinus.access import Grant
from serinus.entities import Endpoint, EndpointConfig, RateLimit, ServedEntity
from serinus.errors import ResourceAlreadyExists
from serinus.store.journal import JournalEntry
from serinus.store.rows import BUILD_LOG_LIMIT
from serinus.testing import configs
from serinus.testing.memory import (
    EndpointRow,
    Memory,
    Tables,
    append,
    config_copy,
    config_kept,
    instant,
    plain,
)
from serinus.testing.rollouts import FakeRollouts
from serinus.testing.verifications import FakeVerifications
from serinus.traffic import EndpointRoutes, RouteTable

__all__ = ["FakeStore"]


class _NoTokens:
    """Nobody has a token here."""

    def grants(self) -> tuple[Grant, ...]:
        """See `Tokens.grants`."""
        return ()


class FakeStore:
    """See `serinus.store.repository.Store`: the same calls, the same errors, no disk.

    ``memory`` outlives it, as a database file does; `copy` is a second world from here on.
    """

    def __init__(self, memory: Memory | None = None) -> None:
        self.memory = memory or Memory()
        #: The endpoints last given out, for as long as the rows are what they were made of.
        self._given: tuple[Endpoint, ...] = ()
        self._made_of: list[object] = []
        self.rollouts = FakeRollouts(self.memory)
        self.verifications = FakeVerifications(self.memory)
        self.tokens = _NoTokens()

    def copy(self) -> "FakeStore":
        """Another store that begins as this one is now."""
        return FakeStore(self.memory.copy())

    def close(self) -> None:
        """Nothing to let go of."""

    def take_epoch(self) -> int:
        """See `Store.take_epoch`."""
        with self.memory.write() as tables:
            tables.epoch += 1
            return tables.epoch

    # --- endpoints ------------------------------------------------------------------------

    def create_endpoint(
        self, endpoint: Endpoint, *, journal: Sequence[JournalEntry] = ()
    ) -> Endpoint:
        """See `Store.create_endpoint`."""
        with self.memory.write() as tables:
            for row in tables.endpoints.values():
                if row.bare.name == endpoint.name and not row.bare.deleted:
                    raise ResourceAlreadyExists(
                        f"Serving endpoint with name {endpoint.name} already exists."
                    )
            if endpoint.default:
                _clear_default(tables)
            made = [each for each in (endpoint.active, endpoint.pending) if each is not None]
            for config in made:
                tables.configs[endpoint.id, config.version] = config_kept(config)
            tables.endpoints[endpoint.id] = _new_row(endpoint, made)
            append(tables, journal)
            return configs.endpoint_of(tables, tables.endpoints[endpoint.id])

    def endpoint(self, name: str) -> Endpoint:
        """See `Store.endpoint`."""
        return configs.endpoint_of(self.memory.now, configs.live(self.memory.now, name))

    def endpoints(self, *, include_deleted: bool = False) -> tuple[Endpoint, ...]:
        """See `Store.endpoints`."""
        tables = self.memory.now
        rows = [each for each in tables.endpoints.values() if include_deleted or _lives(each)]
        rows.sort(key=lambda row: (row.bare.name, row.bare.created_at))
        made_of = [part for row in rows for part in (row, *configs.current(tables, row))]
        if len(made_of) != len(self._made_of) or any(map(is_not, made_of, self._made_of)):
            self._made_of = list(made_of)
            self._given = tuple(configs.endpoint_of(tables, row) for row in rows)
        return self._given

    def config(self, endpoint_id: str, version: int) -> EndpointConfig | None:
        """See `Store.config`."""
        found = self.memory.now.configs.get((endpoint_id, version))
        return None if found is None else config_copy(found)

    def put_config(
        self,
        name: str,
        config_from: Callable[[int], EndpointConfig],
        at: datetime,
        *,
        journal: Sequence[JournalEntry] = (),
    ) -> Endpoint:
        """See `Store.put_config`."""
        with self.memory.write() as tables:
            configs.put_pending(tables, configs.live(tables, name), config_from, at)
            append(tables, journal)
            return configs.endpoint_of(tables, configs.live(tables, name))

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
        """See `Store.set_fields`."""
        with self.memory.write() as tables:
            configs.live(tables, name)
            if default:
                _clear_default(tables)
            row = configs.live(tables, name)
            bare = row.bare
            bare = replace(
                bare,
                description=bare.description if description is None else description,
                tags=bare.tags if tags is None else dict(tags),
                default=bare.default if default is None else default,
                verify_after=bare.verify_after if verify_after is None else instant(verify_after),
                caller=bare.caller if caller is None else caller,
                echo=bare.echo if echo is None else dict(echo),
                rate_limits=bare.rate_limits if rate_limits is None else rate_limits,
                cache_ttl_s=bare.cache_ttl_s if cache_ttl_s is None else cache_ttl_s,
            )
            row = configs.update_endpoint(tables, row, at, bare)
            append(tables, journal)
            return configs.endpoint_of(tables, row)

    def stop_endpoint(
        self, name: str, at: datetime, *, journal: Sequence[JournalEntry] = ()
    ) -> Endpoint:
        """See `Store.stop_endpoint`."""
        with self.memory.write() as tables:
            if configs.stop(tables, configs.live(tables, name), at):
                append(tables, journal)
            return configs.endpoint_of(tables, configs.live(tables, name))

    def start_endpoint(
        self, name: str, at: datetime, *, journal: Sequence[JournalEntry] = ()
    ) -> Endpoint:
        """See `Store.start_endpoint`."""
        with self.memory.write() as tables:
            if configs.start(tables, configs.live(tables, name), at):
                append(tables, journal)
            return configs.endpoint_of(tables, configs.live(tables, name))

    def change_tags(
        self,
        name: str,
        change: Callable[[dict[str, str]], dict[str, str]],
        at: datetime,
        *,
        journal: Sequence[JournalEntry] = (),
    ) -> Endpoint:
        """See `Store.change_tags`."""
        with self.memory.write() as tables:
            row = configs.live(tables, name)
            tags = change(dict(row.bare.tags))
            if tags != row.bare.tags:
                row = configs.update_endpoint(tables, row, at, replace(row.bare, tags=tags))
                append(tables, journal)
            return configs.endpoint_of(tables, row)

    def set_echo(
        self, name: str, key: str, value: object, at: datetime, *, journal: Sequence[JournalEntry]
    ) -> Endpoint:
        """See `Store.set_echo`."""
        with self.memory.write() as tables:
            row = configs.live(tables, name)
            echo = plain({**row.bare.echo, key: value})
            row = configs.update_endpoint(tables, row, at, replace(row.bare, echo=echo))
            append(tables, journal)
            return configs.endpoint_of(tables, row)

    def history(
        self, endpoint_id: str, *, before: int | None = None, limit: int = 20
    ) -> tuple[EndpointConfig, ...]:
        """See `Store.history`."""
        mine = (
            config
            for (id_, version), config in self.memory.now.configs.items()
            if id_ == endpoint_id and (before is None or version < before)
        )
        newest = sorted(mine, key=lambda each: each.version, reverse=True)
        return tuple(config_copy(each) for each in newest[:limit])

    def delete_endpoint(
        self, name: str, at: datetime, *, journal: Sequence[JournalEntry] = ()
    ) -> None:
        """See `Store.delete_endpoint`."""
        with self.memory.write() as tables:
            row = configs.live(tables, name)
            bare = replace(row.bare, deleted=True, default=False)
            configs.update_endpoint(tables, row, at, bare)
            append(tables, journal)

    def purge(
        self, endpoint_id: str, *, epoch: int | None = None, journal: Sequence[JournalEntry] = ()
    ) -> None:
        """See `Store.purge`."""
        with self.memory.write(epoch) as tables:
            row = tables.endpoints.get(endpoint_id)
            if row is None or not row.bare.deleted:
                return
            del tables.endpoints[endpoint_id]
            for key in [key for key in tables.configs if key[0] == endpoint_id]:
                del tables.configs[key]
            self.rollouts.cascade(tables, endpoint_id)
            append(tables, journal)

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
        """See `Store.save_entity`."""
        with self.memory.write(epoch) as tables:
            config = tables.configs.get((endpoint_id, config_version))
            known = config.entity(entity.name) if config is not None else None
            if config is None or known is None:
                return False
            saved = replace(
                known,
                model=entity.model,
                environment=entity.environment,
                deployment=entity.deployment,
                deployment_message=entity.deployment_message,
                form=entity.form,
                form_reason=entity.form_reason,
                build_log=entity.build_log[-BUILD_LOG_LIMIT:],
            )
            entities = tuple(saved if each is known else each for each in config.entities)
            tables.configs[endpoint_id, config_version] = replace(config, entities=entities)
            append(tables, journal)
            return True

    def activate(
        self,
        endpoint_id: str,
        config_version: int,
        at: datetime,
        *,
        epoch: int | None = None,
        journal: Sequence[JournalEntry] = (),
    ) -> bool:
        """See `Store.activate`."""
        with self.memory.write(epoch) as tables:
            if not configs.activate(tables, endpoint_id, config_version, at):
                return False
            append(tables, journal)
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
        """See `Store.fail`."""
        with self.memory.write(epoch) as tables:
            if not configs.fail(tables, endpoint_id, config_version, message, at):
                return False
            append(tables, journal)
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
        """See `Store.publish`."""
        with self.memory.write(epoch) as tables:
            last = tables.routes
            same = last.endpoints == endpoints and last.grants == grants
            if not same or last.generation < above:
                generation = max(last.generation, above) + 1
                tables.routes = RouteTable(generation, endpoints, grants)
                append(tables, journal)
            return tables.routes

    def routes(self) -> RouteTable:
        """See `Store.routes`."""
        return self.memory.now.routes

    def append(self, entries: Sequence[JournalEntry]) -> None:
        """See `Store.append`."""
        with self.memory.write() as tables:
            append(tables, entries)

    def journal(
        self, endpoint_id: str | None = None, *, after: int = 0, limit: int = 1000
    ) -> tuple[JournalEntry, ...]:
        """See `Store.journal`."""
        return self.rollouts.entries(endpoint_id, None, after, limit)

    def last_entry(
        self, endpoint_id: str, kind: str, *, version: str | None = None
    ) -> JournalEntry | None:
        """See `Store.last_entry`."""
        for entry in reversed(self.memory.now.journal):
            if (entry.endpoint_id, entry.kind) == (endpoint_id, kind) and (
                version in (None, entry.data.get("version"))
            ):
                return replace(entry, data=plain(entry.data))
        return None


def _new_row(endpoint: Endpoint, made: Sequence[EndpointConfig]) -> EndpointRow:
    bare = replace(
        endpoint,
        created_at=instant(endpoint.created_at),
        updated_at=instant(endpoint.updated_at),
        active=None,
        pending=None,
        tags=dict(endpoint.tags),
        echo=dict(endpoint.echo),
        deleted=False,
    )
    return EndpointRow(
        bare,
        endpoint.active.version if endpoint.active else None,
        endpoint.pending.version if endpoint.pending else None,
        max((config.version for config in made), default=0),
    )


def _lives(row: EndpointRow) -> bool:
    return not row.bare.deleted


def _clear_default(tables: Tables) -> None:
    for id_, row in list(tables.endpoints.items()):
        if row.bare.default:
            tables.endpoints[id_] = replace(row, bare=replace(row.bare, default=False))
