"""operations of stores, requests by status, and logs for the collector"""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    op.create_table(
        "operations",
        sa.Column("script_id", sa.String(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("node_id", sa.String(), nullable=False),
        sa.Column("reads", sa.BigInteger(), nullable=False),
        sa.Column("writes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("script_id", "day", "kind", "node_id", name=op.f("pk_operations")),
    )
    op.create_index("ix_operations_day", "operations", ["day"], unique=False)
    op.create_table(
        "statuses",
        sa.Column("script_id", sa.String(), nullable=False),
        sa.Column("minute", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version_id", sa.String(), nullable=False),
        sa.Column("node_id", sa.String(), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "script_id", "minute", "version_id", "node_id", "status", name=op.f("pk_statuses")
        ),
    )
    op.create_index("ix_statuses_minute", "statuses", ["minute"], unique=False)
    op.add_column(
        "telemetry_batches",
        sa.Column("kind", sa.String(), server_default="requests", nullable=False),
    )


def downgrade() -> None:
    op.drop_column("telemetry_batches", "kind")
    op.drop_table("statuses")
    op.drop_table("operations")
