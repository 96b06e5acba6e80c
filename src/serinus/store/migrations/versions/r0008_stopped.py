"""Endpoints that are stopped, and what their clients want to see again; all that there are run."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Let each endpoint say it."""
    stopped = sa.Column("stopped", sa.Boolean, nullable=False, server_default=sa.false())
    op.add_column("endpoints", stopped)
    op.add_column("endpoints", sa.Column("echo", sa.JSON, nullable=False, server_default="{}"))


def downgrade() -> None:
    """Have everything run again, and forget the rest."""
    op.drop_column("endpoints", "echo")
    op.drop_column("endpoints", "stopped")
