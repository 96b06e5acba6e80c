"""Live values by hour, kept beyond the replicas and controllers that saw them."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the hours, and to each endpoint where its callers are named."""
    op.create_table(
        "live_hours",
        sa.Column("endpoint_id", sa.String(64), nullable=False),
        sa.Column("served_name", sa.String(255), nullable=False),
        sa.Column("hour", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("caller", sa.String(255), nullable=False),
        sa.Column("source", sa.String(64), nullable=False),
        sa.Column("contract", sa.String(64), nullable=False),
        sa.Column("model_digest", sa.String(64), nullable=False),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint(
            "endpoint_id",
            "served_name",
            "hour",
            "caller",
            "source",
            name=op.f("pk_live_hours"),
        ),
    )
    op.create_index(op.f("ix_live_hours_hour"), "live_hours", ["hour"])
    caller = sa.Column("caller", sa.String(255), nullable=False, server_default="")
    op.add_column("endpoints", caller)


def downgrade() -> None:
    """Forget them."""
    op.drop_column("endpoints", "caller")
    op.drop_table("live_hours")
