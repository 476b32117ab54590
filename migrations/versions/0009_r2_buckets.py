"""r2_buckets"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    op.create_table(
        "r2_buckets",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("location", sa.String(), nullable=False),
        sa.Column("storage_class", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_r2_buckets_account_id_accounts")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_r2_buckets")),
        sa.UniqueConstraint("account_id", "name", name=op.f("uq_r2_buckets_account_id_name")),
    )


def downgrade() -> None:
    op.drop_table("r2_buckets")
