"""Rollouts: their states, what people asked of them, policies, refused models."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the tables of rollouts, and to the journal the rollout that an entry speaks of."""
    _rollouts()
    _events_and_messages()
    _policies_and_refusals()
    with op.batch_alter_table("journal") as journal:
        journal.add_column(sa.Column("rollout_id", sa.String(64)))
        journal.create_index("ix_journal_rollout_id_id", ["rollout_id", "id"])


def downgrade() -> None:
    """Forget all rollouts."""
    with op.batch_alter_table("journal") as journal:
        journal.drop_index("ix_journal_rollout_id_id")
        journal.drop_column("rollout_id")
    for table in ("evidence", "refusals", "policies", "rollout_messages", "rollout_events"):
        op.drop_table(table)
    op.drop_table("rollouts")


def _id() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _of(table: str, column: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column],
        [f"{'endpoints' if column == 'endpoint_id' else 'rollouts'}.id"],
        name=op.f(f"fk_{table}_{'endpoints' if column == 'endpoint_id' else 'rollouts'}"),
        ondelete="CASCADE",
    )


def _rollouts() -> None:
    op.create_table(
        "rollouts",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("endpoint_id", sa.String(64), nullable=False),
        sa.Column("stable_version", sa.Integer, nullable=False),
        sa.Column("target_version", sa.Integer, nullable=False),
        sa.Column("phase", sa.String(32), nullable=False),
        sa.Column("state", sa.JSON, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger),
        _of("rollouts", "endpoint_id"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rollouts")),
    )
    op.create_index("ix_rollouts_endpoint_id_started_at", "rollouts", ["endpoint_id", "started_at"])


def _events_and_messages() -> None:
    op.create_table(
        "rollout_events",
        sa.Column("id", _id(), nullable=False, autoincrement=True),
        sa.Column("rollout_id", sa.String(64), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("verb", sa.String(32), nullable=False),
        sa.Column("data", sa.JSON, nullable=False),
        _of("rollout_events", "rollout_id"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rollout_events")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "rollout_messages",
        sa.Column("id", sa.String(96), nullable=False),
        sa.Column("rollout_id", sa.String(64), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("data", sa.JSON, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("not_before", sa.BigInteger, nullable=False),
        _of("rollout_messages", "rollout_id"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rollout_messages")),
    )


def _policies_and_refusals() -> None:
    op.create_table(
        "evidence",
        sa.Column("key", sa.String(96), nullable=False),
        sa.Column("rollout_id", sa.String(64), nullable=False),
        sa.Column("kept", sa.JSON, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        _of("evidence", "rollout_id"),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_evidence")),
    )
    op.create_table(
        "policies",
        sa.Column("endpoint_id", sa.String(64), nullable=False),
        sa.Column("policy", sa.JSON, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        _of("policies", "endpoint_id"),
        sa.PrimaryKeyConstraint("endpoint_id", name=op.f("pk_policies")),
    )
    op.create_table(
        "refusals",
        sa.Column("endpoint_id", sa.String(64), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("rollout_id", sa.String(64), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        _of("refusals", "endpoint_id"),
        sa.PrimaryKeyConstraint("endpoint_id", "digest", name=op.f("pk_refusals")),
    )
