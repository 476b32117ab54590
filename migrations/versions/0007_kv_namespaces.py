"""kv_namespaces"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    op.create_table(
        "kv_namespaces",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_kv_namespaces_account_id_accounts")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_kv_namespaces")),
        sa.UniqueConstraint("account_id", "title", name=op.f("uq_kv_namespaces_account_id_title")),
    )
    op.create_table(
        "discarded_data",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_discarded_data")),
    )


def downgrade() -> None:
    op.drop_table("discarded_data")
    op.drop_table("kv_namespaces")
