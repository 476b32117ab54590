"""static_assets"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    op.create_table(
        "asset_sessions",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("script_name", sa.String(), nullable=False),
        sa.Column("manifest", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_asset_sessions_account_id_accounts")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_asset_sessions")),
    )
    op.create_table(
        "asset_hashes",
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_asset_hashes_account_id_accounts")
        ),
        sa.ForeignKeyConstraint(
            ["digest"],
            ["modules.digest"],
            name=op.f("fk_asset_hashes_digest_modules"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("account_id", "hash", name=op.f("pk_asset_hashes")),
    )
    op.create_index(op.f("ix_asset_hashes_digest"), "asset_hashes", ["digest"], unique=False)
    op.create_table(
        "asset_files",
        sa.Column("manifest", sa.String(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["manifest"],
            ["modules.digest"],
            name=op.f("fk_asset_files_manifest_modules"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["digest"], ["modules.digest"], name=op.f("fk_asset_files_digest_modules")
        ),
        sa.PrimaryKeyConstraint("manifest", "path", name=op.f("pk_asset_files")),
    )
    op.create_index(op.f("ix_asset_files_digest"), "asset_files", ["digest"], unique=False)
    op.add_column(
        "versions",
        sa.Column("assets", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
    )


def downgrade() -> None:
    op.drop_column("versions", "assets")
    op.drop_table("asset_files")
    op.drop_table("asset_hashes")
    op.drop_table("asset_sessions")
