"""object_namespaces"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    op.add_column("scripts", sa.Column("migration_tag", sa.String(), nullable=True))
    op.create_table(
        "object_namespaces",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("script_id", sa.String(), nullable=False),
        sa.Column("class_name", sa.String(), nullable=False),
        sa.Column("sqlite", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["script_id"], ["scripts.id"], name=op.f("fk_object_namespaces_script_id_scripts")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_object_namespaces")),
        sa.UniqueConstraint(
            "script_id", "class_name", name=op.f("uq_object_namespaces_script_id_class_name")
        ),
    )


def downgrade() -> None:
    op.drop_table("object_namespaces")
    op.drop_column("scripts", "migration_tag")
