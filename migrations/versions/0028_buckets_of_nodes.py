"""In which bucket a node keeps the data of accounts"""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    op.add_column("nodes", sa.Column("bucket", sa.String(), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("nodes", "bucket")
