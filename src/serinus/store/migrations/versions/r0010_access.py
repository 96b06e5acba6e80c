"""Tokens and what they allow, rate limits, and the record of who changed what."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

_LIVE = sa.text("revoked_at IS NULL")


def upgrade() -> None:
    """Add them."""
    op.create_table(
        "tokens",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("admin", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("created_by", sa.String(255), nullable=False),
        sa.Column("expires_at", sa.BigInteger),
        sa.Column("revoked_at", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tokens")),
    )
    op.create_index(
        "uq_tokens_live_name",
        "tokens",
        ["name"],
        unique=True,
        sqlite_where=_LIVE,
        postgresql_where=_LIVE,
    )
    op.create_table(
        "grants",
        sa.Column("principal", sa.String(255), nullable=False),
        sa.Column("endpoint", sa.String(255), nullable=False),
        sa.Column("level", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("principal", "endpoint", name=op.f("pk_grants")),
    )
    op.create_index("ix_grants_endpoint", "grants", ["endpoint"])
    op.create_table(
        "token_uses",
        sa.Column("token_id", sa.String(16), nullable=False),
        sa.Column("used_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("token_id", name=op.f("pk_token_uses")),
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("token_id", sa.String(16), nullable=False),
        sa.Column("action", sa.String(255), nullable=False),
        sa.Column("object", sa.String(255), nullable=False),
        sa.Column("before", sa.Text, nullable=False),
        sa.Column("after", sa.Text, nullable=False),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
        sqlite_autoincrement=True,
    )
    op.add_column(
        "endpoints", sa.Column("rate_limits", sa.JSON, nullable=False, server_default="[]")
    )
    op.add_column("routing", sa.Column("grants", sa.JSON, nullable=False, server_default="[]"))


def downgrade() -> None:
    """Forget them."""
    op.drop_column("routing", "grants")
    op.drop_column("endpoints", "rate_limits")
    for table in ("audit", "token_uses", "grants", "tokens"):
        op.drop_table(table)
