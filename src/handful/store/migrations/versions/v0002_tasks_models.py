"""Tasks with their versions, and models that were registered while a server ran."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "tasks",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("space", sa.Integer, nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("owner_id", sa.Integer),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_tasks"),
        sa.UniqueConstraint("space", "name", name="uq_tasks_space"),
        sa.ForeignKeyConstraint(["owner_id"], ["accounts.id"], name="fk_tasks_owner_id"),
    )
    op.create_table(
        "task_versions",
        sa.Column("task_id", sa.String(16), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("task_id", "version", name="pk_task_versions"),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name="fk_task_versions_task_id"),
    )
    op.create_table(
        "models",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("name", sa.String(193), nullable=False),
        sa.Column("owner_id", sa.Integer),
        sa.Column("is_private", sa.Boolean, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("location", sa.Text, nullable=False),
        sa.Column("revision", sa.String(200)),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_models"),
        sa.UniqueConstraint("name", name="uq_models_name"),
        sa.ForeignKeyConstraint(["owner_id"], ["accounts.id"], name="fk_models_owner_id"),
    )


def downgrade() -> None:
    """Drop them."""
    for name in ("models", "task_versions", "tasks"):
        op.drop_table(name)
