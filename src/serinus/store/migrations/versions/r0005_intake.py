"""How the requests to a served entity are read; what was served before reads strictly."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Let each served entity say it."""
    intake = sa.Column("intake", sa.String(16), nullable=False, server_default="strict")
    op.add_column("served_entities", intake)


def downgrade() -> None:
    """Read all strictly again."""
    op.drop_column("served_entities", "intake")
