"""cron_triggers"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    op.create_table(
        "cron_triggers",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("script_id", sa.String(), nullable=False),
        sa.Column("cron", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["script_id"], ["scripts.id"], name=op.f("fk_cron_triggers_script_id_scripts")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cron_triggers")),
        sa.UniqueConstraint("script_id", "cron", name=op.f("uq_cron_triggers_script_id_cron")),
    )
    op.create_index(op.f("ix_cron_triggers_next_at"), "cron_triggers", ["next_at"], unique=False)
    op.create_table(
        "cron_runs",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("script_id", sa.String(), nullable=False),
        sa.Column("cron", sa.String(), nullable=False),
        sa.Column("scheduled_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("manual", sa.Boolean(), nullable=False),
        sa.Column("late", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("node_name", sa.String(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("logs", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("duration_ms", sa.Integer(), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["script_id"], ["scripts.id"], name=op.f("fk_cron_runs_script_id_scripts")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cron_runs")),
        sa.UniqueConstraint(
            "script_id",
            "cron",
            "scheduled_at",
            "manual",
            name=op.f("uq_cron_runs_script_id_cron_scheduled_at_manual"),
        ),
    )
    op.create_index(op.f("ix_cron_runs_script_id"), "cron_runs", ["script_id"], unique=False)
    op.create_index(op.f("ix_cron_runs_state"), "cron_runs", ["state"], unique=False)


def downgrade() -> None:
    op.drop_table("cron_runs")
    op.drop_table("cron_triggers")
