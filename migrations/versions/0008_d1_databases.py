"""d1_databases"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    op.create_table(
        "d1_databases",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_d1_databases_account_id_accounts")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_d1_databases")),
        sa.UniqueConstraint("account_id", "name", name=op.f("uq_d1_databases_account_id_name")),
    )


def downgrade() -> None:
    op.drop_table("d1_databases")
