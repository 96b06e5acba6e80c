"""Endpoints, configs, served entities, routes, the journal and the controller's epoch."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the first tables and the two single rows."""
    _endpoints()
    _configs()
    _journal()
    op.create_table(
        "control",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_control_single")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_control")),
    )
    op.create_table(
        "routing",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("routes", sa.JSON, nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_routing_single")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_routing")),
    )
    op.execute("INSERT INTO control (id, epoch) VALUES (1, 0)")
    op.execute("INSERT INTO routing (id, generation, routes) VALUES (1, 0, '[]')")


def downgrade() -> None:
    """Drop everything."""
    for table in ("routing", "control", "journal", "served_entities", "configs", "endpoints"):
        op.drop_table(table)


def _endpoints() -> None:
    live = sa.text("deleted_at IS NULL")
    op.create_table(
        "endpoints",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("creator", sa.String(255), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("deleted_at", sa.BigInteger),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("tags", sa.JSON, nullable=False),
        sa.Column("route_optimized", sa.Boolean, nullable=False),
        sa.Column("is_default", sa.Boolean, nullable=False),
        sa.Column("config_update", sa.String(32), nullable=False),
        sa.Column("last_version", sa.Integer, nullable=False),
        sa.Column("active_version", sa.Integer),
        sa.Column("pending_version", sa.Integer),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_endpoints")),
    )
    op.create_index(
        "uq_endpoints_live_name",
        "endpoints",
        ["name"],
        unique=True,
        sqlite_where=live,
        postgresql_where=live,
    )


def _configs() -> None:
    op.create_table(
        "configs",
        sa.Column("endpoint_id", sa.String(64), nullable=False),
        sa.Column("version", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("auto_capture", sa.JSON),
        sa.PrimaryKeyConstraint("endpoint_id", "version", name=op.f("pk_configs")),
        sa.ForeignKeyConstraint(
            ["endpoint_id"],
            ["endpoints.id"],
            name=op.f("fk_configs_endpoints"),
            ondelete="CASCADE",
        ),
    )
    op.create_table(
        "served_entities",
        sa.Column("endpoint_id", sa.String(64), nullable=False),
        sa.Column("version", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("weight_bp", sa.Integer),
        sa.Column("entity_name", sa.Text, nullable=False),
        sa.Column("entity_version", sa.String(255), nullable=False),
        sa.Column("replicas", sa.Integer, nullable=False),
        sa.Column("environment_vars", sa.JSON, nullable=False),
        sa.Column("echo", sa.JSON, nullable=False),
        sa.Column("model", sa.JSON),
        sa.Column("environment", sa.JSON),
        sa.Column("deployment", sa.String(32), nullable=False),
        sa.Column("deployment_message", sa.Text, nullable=False),
        sa.Column("build_log", sa.Text, nullable=False),
        sa.Column("creator", sa.String(255), nullable=False),
        sa.Column("created_at", sa.BigInteger),
        sa.PrimaryKeyConstraint("endpoint_id", "version", "name", name=op.f("pk_served_entities")),
        sa.ForeignKeyConstraint(
            ["endpoint_id", "version"],
            ["configs.endpoint_id", "configs.version"],
            name=op.f("fk_served_entities_configs"),
            ondelete="CASCADE",
        ),
    )


def _journal() -> None:
    op.create_table(
        "journal",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            nullable=False,
            autoincrement=True,
        ),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("endpoint_id", sa.String(64)),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("data", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_journal")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_journal_endpoint_id_id", "journal", ["endpoint_id", "id"])
