"""function_credentials"""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0014"
branch_labels = None
depends_on = None

TABLE = "function_credentials"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    op.create_table(
        TABLE,
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("target_id", sa.String(), nullable=False),
        sa.Column("script_id", sa.String(), nullable=False),
        sa.Column("version_id", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("sealed_secret", sa.LargeBinary(), nullable=False),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("replaced_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{TABLE}")),
        sa.UniqueConstraint("digest", name=op.f(f"uq_{TABLE}_digest")),
        _reference("target_id", "targets"),
        _reference("script_id", "scripts"),
        _reference("version_id", "versions"),
    )
    op.create_index(op.f(f"ix_{TABLE}_target_id"), TABLE, ["target_id"])
    op.create_index(op.f(f"ix_{TABLE}_script_id"), TABLE, ["script_id"])
    op.create_index(op.f(f"ix_{TABLE}_version_id"), TABLE, ["version_id"])


def _reference(column: str, table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column], [f"{table}.id"], name=op.f(f"fk_{TABLE}_{column}_{table}"), ondelete="CASCADE"
    )


def downgrade() -> None:
    op.drop_table(TABLE)
