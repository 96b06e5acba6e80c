"""How long an endpoint's answers may be given again."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Never, for those that there are."""
    ttl = sa.Column("cache_ttl_ms", sa.BigInteger, nullable=False, server_default="0")
    op.add_column("endpoints", ttl)


def downgrade() -> None:
    """Never, for all."""
    op.drop_column("endpoints", "cache_ttl_ms")
