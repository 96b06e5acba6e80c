"""The tables of tokens, rights and the audit. Nothing outside the store imports this."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    String,
    Table,
    Text,
    text,
)

from serinus.store.tables import metadata

__all__ = ["audit", "grants", "token_uses", "tokens"]

_LIVE = text("revoked_at IS NULL")

tokens = Table(
    "tokens",
    metadata,
    # The part of a token that it is found by.
    Column("id", String(16), primary_key=True),
    Column("name", String(255), nullable=False),
    # SHA-256 of the token.
    Column("digest", String(64), nullable=False),
    Column("admin", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", String(255), nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
    Index("uq_tokens_live_name", "name", unique=True, sqlite_where=_LIVE, postgresql_where=_LIVE),
)

grants = Table(
    "grants",
    metadata,
    # A token's name.
    Column("principal", String(255), primary_key=True),
    # An endpoint's name, whether there is one or not, or ``*``.
    Column("endpoint", String(255), primary_key=True),
    Column("level", Integer, nullable=False),
    Index("ix_grants_endpoint", "endpoint"),
)

#: Apart, so that a use does not count as a change.
token_uses = Table(
    "token_uses",
    metadata,
    Column("token_id", String(16), primary_key=True),
    Column("used_at", BigInteger, nullable=False),
)

#: Who changed what. Each row's hash covers the one before: see `serinus.store.acts`.
audit = Table(
    "audit",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("actor", String(255), nullable=False),
    Column("token_id", String(16), nullable=False),
    Column("action", String(255), nullable=False),
    Column("object", String(255), nullable=False),
    # JSON as text: what is hashed must come back as it was.
    Column("before", Text, nullable=False),
    Column("after", Text, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    sqlite_autoincrement=True,
)
