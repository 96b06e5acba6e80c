"""What the gates before traffic found, kept beyond the controller that asked."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the reports, and to each endpoint the moment from which on they count."""
    op.add_column("endpoints", sa.Column("verify_after", sa.BigInteger))
    op.create_table(
        "verifications",
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("model_digest", sa.String(64), nullable=False),
        sa.Column("asked_for", sa.String(128), nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("settings", sa.Text, nullable=False),
        sa.Column("report", sa.JSON),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_verifications")),
    )


def downgrade() -> None:
    """Forget them."""
    op.drop_table("verifications")
    op.drop_column("endpoints", "verify_after")
