"""backlog of queues, and rules about it"""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    op.create_table(
        "queue_backlogs",
        sa.Column("queue_id", sa.String(), nullable=False),
        sa.Column("messages", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("oldest_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["queue_id"],
            ["queues.id"],
            name=op.f("fk_queue_backlogs_queue_id_queues"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("queue_id", name=op.f("pk_queue_backlogs")),
    )
    op.add_column("alert_rules", sa.Column("queue_id", sa.String(), nullable=True))
    op.create_foreign_key(
        op.f("fk_alert_rules_queue_id_queues"),
        "alert_rules",
        "queues",
        ["queue_id"],
        ["id"],
        ondelete="CASCADE",
    )


def downgrade() -> None:
    op.drop_constraint(op.f("fk_alert_rules_queue_id_queues"), "alert_rules", type_="foreignkey")
    op.drop_column("alert_rules", "queue_id")
    op.drop_table("queue_backlogs")
