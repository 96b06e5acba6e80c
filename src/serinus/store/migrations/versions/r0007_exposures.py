"""Which request fell on which arm, and how it turned out, while a rollout waits for outcomes."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the exposures."""
    op.create_table(
        "exposures",
        sa.Column("key", sa.String(96), nullable=False),
        sa.Column("request", sa.BigInteger, nullable=False),
        sa.Column("rollout_id", sa.String(64), nullable=False),
        sa.Column("client", sa.BigInteger),
        sa.Column("unit", sa.BigInteger),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("on_candidate", sa.Boolean, nullable=False),
        sa.Column("stage", sa.Integer, nullable=False),
        sa.Column("candidate_bp", sa.Integer, nullable=False),
        sa.Column("outcomes", sa.JSON),
        sa.PrimaryKeyConstraint("key", "request", name=op.f("pk_exposures")),
        sa.UniqueConstraint("key", "unit", name=op.f("uq_exposures_key_unit")),
        sa.ForeignKeyConstraint(
            ["rollout_id"],
            ["rollouts.id"],
            name=op.f("fk_exposures_rollout_id_rollouts"),
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_exposures_key_at", "exposures", ["key", "at"])
    op.create_index("ix_exposures_key_client", "exposures", ["key", "client"])


def downgrade() -> None:
    """Forget them."""
    op.drop_table("exposures")
