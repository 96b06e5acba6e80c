"""What the models of served entities are to be converted into, and as what they serve."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Into nothing, for those that there are."""
    optimize = sa.Column("optimize", sa.String(16), nullable=False, server_default="none")
    op.add_column("served_entities", optimize)
    op.add_column(
        "served_entities", sa.Column("form", sa.String(16), nullable=False, server_default="")
    )
    op.add_column(
        "served_entities", sa.Column("form_reason", sa.Text, nullable=False, server_default="")
    )


def downgrade() -> None:
    """Into nothing, for all."""
    for name in ("form_reason", "form", "optimize"):
        op.drop_column("served_entities", name)
