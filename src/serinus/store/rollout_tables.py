"""The tables of rollouts. Nothing outside the store imports this; a change needs a migration."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from serinus.store.tables import json_type, metadata

__all__ = ["events", "evidence", "exposures", "messages", "policies", "refusals", "rollouts"]

_ID = BigInteger().with_variant(Integer, "sqlite")


def _endpoint_id(*, primary_key: bool = False) -> Column[str]:
    endpoint = ForeignKey("endpoints.id", ondelete="CASCADE")
    return Column("endpoint_id", String(64), endpoint, primary_key=primary_key, nullable=False)


rollouts = Table(
    "rollouts",
    metadata,
    Column("id", String(64), primary_key=True),
    _endpoint_id(),
    # Versions of the endpoint's configs: what served at the start, and what wants to.
    Column("stable_version", Integer, nullable=False),
    Column("target_version", Integer, nullable=False),
    Column("phase", String(32), nullable=False),
    Column("state", json_type, nullable=False),
    # Grows with every change; a decision is stored only over the state that it was made from.
    Column("revision", BigInteger, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Index("ix_rollouts_endpoint_id_started_at", "endpoint_id", "started_at"),
)

#: What people asked of a rollout and the controller has not heard yet.
events = Table(
    "rollout_events",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("rollout_id", String(64), ForeignKey("rollouts.id", ondelete="CASCADE"), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("actor", String(255), nullable=False),
    Column("verb", String(32), nullable=False),
    Column("data", json_type, nullable=False),
    sqlite_autoincrement=True,
)

#: Effects that reach outside the store and are not known to have been done.
messages = Table(
    "rollout_messages",
    metadata,
    Column("id", String(96), primary_key=True),
    Column("rollout_id", String(64), ForeignKey("rollouts.id", ondelete="CASCADE"), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("data", json_type, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("not_before", BigInteger, nullable=False),
)

policies = Table(
    "policies",
    metadata,
    _endpoint_id(primary_key=True),
    Column("policy", json_type, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)

#: What gateways saw of a rollout, as it was last judged by.
evidence = Table(
    "evidence",
    metadata,
    Column("key", String(96), primary_key=True),
    Column("rollout_id", String(64), ForeignKey("rollouts.id", ondelete="CASCADE"), nullable=False),
    Column("kept", json_type, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)

#: Requests whose outcome may still be told; ids are numbers that can't be turned back into them.
exposures = Table(
    "exposures",
    metadata,
    # The rollout's evidence key.
    Column("key", String(96), primary_key=True),
    Column("request", BigInteger, primary_key=True, autoincrement=False),
    Column("rollout_id", String(64), ForeignKey("rollouts.id", ondelete="CASCADE"), nullable=False),
    Column("client", BigInteger),
    Column("unit", BigInteger),
    # Microseconds: the order of exposure is what outcomes are judged in.
    Column("at", BigInteger, nullable=False),
    Column("on_candidate", Boolean, nullable=False),
    Column("stage", Integer, nullable=False),
    Column("candidate_bp", Integer, nullable=False),
    # Metric → value.
    Column("outcomes", json_type),
    # With a sticky unit, its first request is the one that counts.
    UniqueConstraint("key", "unit"),
    Index("ix_exposures_key_at", "key", "at"),
    Index("ix_exposures_key_client", "key", "client"),
)

#: Models that were rolled back: not to be rolled out again but by ``retry``.
refusals = Table(
    "refusals",
    metadata,
    _endpoint_id(primary_key=True),
    Column("digest", String(64), primary_key=True),
    Column("rollout_id", String(64), nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
)
