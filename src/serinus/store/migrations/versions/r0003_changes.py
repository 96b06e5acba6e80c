"""A counter of changes to endpoints and configs, by which a reader knows that it is up to date."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Begin to count."""
    counter = sa.Column("changes", sa.BigInteger, nullable=False, server_default="0")
    op.add_column("control", counter)


def downgrade() -> None:
    """Count no more."""
    op.drop_column("control", "changes")
