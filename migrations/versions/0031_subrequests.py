"""subrequests of invocations"""

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    op.add_column("log_events", sa.Column("subrequests", sa.Integer(), nullable=True))


def downgrade() -> None:
    op.drop_column("log_events", "subrequests")
