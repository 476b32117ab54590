"""base_generation"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    op.add_column(
        "nodes", sa.Column("base_generation", sa.Integer(), nullable=False, server_default="0")
    )
    op.alter_column("nodes", "base_generation", server_default=None)


def downgrade() -> None:
    op.drop_column("nodes", "base_generation")
