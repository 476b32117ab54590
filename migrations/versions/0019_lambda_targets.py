"""lambda_targets, chosen_targets, lambda_functions"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    op.create_table(
        "lambda_targets",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("region", sa.String(), nullable=False),
        sa.Column("role_arn", sa.String(), nullable=False),
        sa.Column("memory_mib", sa.Integer(), nullable=False),
        sa.Column("timeout_seconds", sa.Integer(), nullable=False),
        sa.Column("architecture", sa.String(), nullable=False),
        sa.Column("log_retention_days", sa.Integer(), nullable=False),
        sa.Column("access_role_arn", sa.String(), nullable=False),
        sa.Column("external_id", sa.String(), nullable=False),
        sa.Column("access_key_id", sa.String(), nullable=False),
        sa.Column("sealed_secret", sa.LargeBinary(), nullable=True),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_lambda_targets_account_id_accounts")
        ),
        sa.ForeignKeyConstraint(["id"], ["targets.id"], name=op.f("fk_lambda_targets_id_targets")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lambda_targets")),
    )
    op.create_index(op.f("ix_lambda_targets_account_id"), "lambda_targets", ["account_id"])
    op.create_table("chosen_targets", *_pair("chosen_targets"))
    op.create_index(op.f("ix_chosen_targets_target_id"), "chosen_targets", ["target_id"])
    op.create_table(
        "lambda_functions",
        *_pair("lambda_functions"),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("drift", sa.String(), nullable=False),
        sa.Column("pushed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("looked_at", sa.DateTime(timezone=True), nullable=False),
    )


def _pair(table: str) -> list[sa.schema.SchemaItem]:
    columns = (
        ["target_id", "script_id"] if table == "lambda_functions" else ["script_id", "target_id"]
    )
    return [
        *(sa.Column(name, sa.String(), nullable=False) for name in columns),
        sa.ForeignKeyConstraint(
            ["script_id"], ["scripts.id"], name=op.f(f"fk_{table}_script_id_scripts")
        ),
        sa.ForeignKeyConstraint(
            ["target_id"],
            ["targets.id"],
            name=op.f(f"fk_{table}_target_id_targets"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(*columns, name=op.f(f"pk_{table}")),
    ]


def downgrade() -> None:
    for table in ("lambda_functions", "chosen_targets", "lambda_targets"):
        op.drop_table(table)
