"""Models that stay in memory."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "pinned_models",
        sa.Column("name", sa.String(193), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_pinned_models"),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("pinned_models")
