"""data_points"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    op.create_table(
        "data_points",
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("dataset", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("script_id", sa.String(), nullable=False),
        sa.Column("index1", sa.String(), nullable=False),
        sa.Column("blobs", sa.ARRAY(sa.String()), nullable=False),
        sa.Column("doubles", sa.ARRAY(sa.Float()), nullable=False),
    )
    op.create_index(op.f("ix_data_points_at"), "data_points", ["at"])
    op.create_index(
        op.f("ix_data_points_account_id_dataset_at"),
        "data_points",
        ["account_id", "dataset", "at"],
    )


def downgrade() -> None:
    op.drop_table("data_points")
