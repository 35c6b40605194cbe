"""Answers that are kept to be given again."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "cached_responses",
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("num_bytes", sa.BigInteger, nullable=False),
        sa.Column("stored_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_cached_responses"),
    )
    op.create_index("ix_cached_responses_stored_at", "cached_responses", ["stored_at"])


def downgrade() -> None:
    """Drop it."""
    op.drop_table("cached_responses")
