"""The tables of the store, for SQLite and PostgreSQL alike. Nothing outside the store imports this.

Times are UTC epoch milliseconds; weights are basis points. A change here needs a migration.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    false,
    text,
)

__all__ = [
    "configs",
    "control",
    "endpoints",
    "entries",
    "json_type",
    "live_hours",
    "metadata",
    "routing",
    "served_entities",
    "verifications",
]

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_LIVE = text("deleted_at IS NULL")
#: None is SQL's NULL, never JSON's.
json_type = JSON(none_as_null=True)

endpoints = Table(
    "endpoints",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(255), nullable=False),
    Column("creator", String(255), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("deleted_at", BigInteger),
    Column("description", Text, nullable=False),
    Column("tags", json_type, nullable=False),
    Column("route_optimized", Boolean, nullable=False),
    Column("is_default", Boolean, nullable=False),
    Column("config_update", String(32), nullable=False),
    # Verifications that began before it do not count.
    Column("verify_after", BigInteger),
    # Where requests say who sent them.
    Column("caller", String(255), nullable=False, server_default=""),
    Column("stopped", Boolean, nullable=False, server_default=false()),
    # What clients sent and only want to see again.
    Column("echo", json_type, nullable=False, server_default="{}"),
    Column("rate_limits", json_type, nullable=False, server_default="[]"),
    Column("cache_ttl_ms", BigInteger, nullable=False, server_default="0"),
    # The highest config version ever given out: a failed update burns its number.
    Column("last_version", Integer, nullable=False),
    Column("active_version", Integer),
    Column("pending_version", Integer),
    # A deleted endpoint keeps its row until its replicas are gone, but its name is free at once.
    Index(
        "uq_endpoints_live_name", "name", unique=True, sqlite_where=_LIVE, postgresql_where=_LIVE
    ),
)

configs = Table(
    "configs",
    metadata,
    Column(
        "endpoint_id",
        String(64),
        ForeignKey("endpoints.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("created_at", BigInteger, nullable=False),
    Column("auto_capture", json_type),
)

served_entities = Table(
    "served_entities",
    metadata,
    Column("endpoint_id", String(64), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("name", String(255), primary_key=True),
    # The client's order, which replies keep.
    Column("position", Integer, nullable=False),
    # Null when the config says nothing of this entity's weight.
    Column("weight_bp", Integer),
    Column("entity_name", Text, nullable=False),
    Column("entity_version", String(255), nullable=False),
    Column("replicas", Integer, nullable=False),
    Column("environment_vars", json_type, nullable=False),
    # How requests are read.
    Column("intake", String(16), nullable=False, server_default="strict"),
    # What the model is to be converted into, and as what it serves.
    Column("optimize", String(16), nullable=False, server_default="none"),
    Column("form", String(16), nullable=False, server_default=""),
    Column("form_reason", Text, nullable=False, server_default=""),
    Column("echo", json_type, nullable=False),
    Column("model", json_type),
    Column("environment", json_type),
    Column("deployment", String(32), nullable=False),
    Column("deployment_message", Text, nullable=False),
    Column("build_log", Text, nullable=False),
    Column("creator", String(255), nullable=False),
    Column("created_at", BigInteger),
    ForeignKeyConstraint(
        ["endpoint_id", "version"],
        ["configs.endpoint_id", "configs.version"],
        ondelete="CASCADE",
    ),
)

entries = Table(
    "journal",
    metadata,
    # SQLite counts up only an INTEGER key; AUTOINCREMENT so that an id is never given out twice.
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("actor", String(255), nullable=False),
    # No foreign key: the journal outlives what it speaks of.
    Column("endpoint_id", String(64)),
    Column("rollout_id", String(64)),
    Column("kind", String(64), nullable=False),
    Column("data", json_type, nullable=False),
    Index("ix_journal_endpoint_id_id", "endpoint_id", "id"),
    Index("ix_journal_rollout_id_id", "rollout_id", "id"),
    sqlite_autoincrement=True,
)

#: What the gates before traffic found, by what was verified: model, environment, variables.
verifications = Table(
    "verifications",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("model_digest", String(64), nullable=False),
    # The rollout's attempt or the config that asked.
    Column("asked_for", String(128), nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    # What else an answer may depend on: versions and settings of the server.
    Column("settings", Text, nullable=False),
    # Null while it runs.
    Column("report", json_type),
)

#: Live values by hour, as each replica said last; they outlive the endpoint for a while.
live_hours = Table(
    "live_hours",
    metadata,
    Column("endpoint_id", String(64), primary_key=True),
    Column("served_name", String(255), primary_key=True),
    # Whole hours since the epoch.
    Column("hour", Integer, primary_key=True, autoincrement=False),
    Column("caller", String(255), primary_key=True),
    # The replica's incarnation.
    Column("source", String(64), primary_key=True),
    Column("contract", String(64), nullable=False),
    Column("model_digest", String(64), nullable=False),
    Column("rows", BigInteger, nullable=False),
    # A packed sketch, compressed.
    Column("content", LargeBinary, nullable=False),
    Index("ix_live_hours_hour", "hour"),
)

#: Live requests that were kept as evidence, each as its replica redacted it.
live_rows = Table(
    "live_rows",
    metadata,
    Column("endpoint_id", String(64), primary_key=True),
    Column("served_name", String(255), primary_key=True),
    # The replica's incarnation.
    Column("source", String(64), primary_key=True),
    # Numbers made of the ids of the request, as in exposures.
    Column("request", BigInteger, primary_key=True, autoincrement=False),
    Column("client", BigInteger),
    Column("model_digest", String(64), nullable=False),
    # Whole hours since the epoch.
    Column("hour", Integer, nullable=False),
    # Microseconds.
    Column("at", BigInteger, nullable=False),
    # Shared by all requests of one entity.
    Column("entity", BigInteger, nullable=False),
    # Why it was refused; empty for one that was answered.
    Column("violation", String(64), nullable=False),
    Column("size", Integer, nullable=False),
    # Metric → value.
    Column("outcomes", json_type),
    # A packed record, compressed.
    Column("content", LargeBinary, nullable=False),
    Index("ix_live_rows_endpoint_id_hour", "endpoint_id", "hour"),
    Index("ix_live_rows_endpoint_id_request", "endpoint_id", "request"),
    Index("ix_live_rows_endpoint_id_client", "endpoint_id", "client"),
)

#: One row. Every write transaction locks it first, so writers queue on PostgreSQL as on SQLite.
control = Table(
    "control",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1", name="single"), primary_key=True),
    Column("epoch", BigInteger, nullable=False),
    # Counts the transactions that changed endpoints, configs or served entities.
    Column("changes", BigInteger, nullable=False, server_default="0"),
)

#: One row: the routes that were last published.
routing = Table(
    "routing",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1", name="single"), primary_key=True),
    Column("generation", BigInteger, nullable=False),
    Column("routes", json_type, nullable=False),
    # Tokens in force and their rights.
    Column("grants", json_type, nullable=False, server_default="[]"),
)
