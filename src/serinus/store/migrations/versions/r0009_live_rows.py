"""Sampled live requests, kept beyond the replicas that saw them, with what came of them."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the rows."""
    op.create_table(
        "live_rows",
        sa.Column("endpoint_id", sa.String(64), nullable=False),
        sa.Column("served_name", sa.String(255), nullable=False),
        sa.Column("source", sa.String(64), nullable=False),
        sa.Column("request", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("client", sa.BigInteger),
        sa.Column("model_digest", sa.String(64), nullable=False),
        sa.Column("hour", sa.Integer, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("entity", sa.BigInteger, nullable=False),
        sa.Column("violation", sa.String(64), nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("outcomes", sa.JSON),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint(
            "endpoint_id", "served_name", "source", "request", name=op.f("pk_live_rows")
        ),
    )
    op.create_index("ix_live_rows_endpoint_id_hour", "live_rows", ["endpoint_id", "hour"])
    op.create_index("ix_live_rows_endpoint_id_request", "live_rows", ["endpoint_id", "request"])
    op.create_index("ix_live_rows_endpoint_id_client", "live_rows", ["endpoint_id", "client"])


def downgrade() -> None:
    """Forget them."""
    op.drop_table("live_rows")
