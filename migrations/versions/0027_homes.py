"""Where an account's Durable Objects are"""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    op.add_column("nodes", sa.Column("door_port", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("accounts", sa.Column("home_id", sa.String(), nullable=True))
    op.create_foreign_key(
        op.f("fk_accounts_home_id_nodes"),
        "accounts",
        "nodes",
        ["home_id"],
        ["id"],
        ondelete="SET NULL",
    )
    op.add_column(
        "scripts", sa.Column("at_home", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    # Until now all data was on the node that came first.
    op.execute(
        """
        UPDATE scripts SET at_home = true
        WHERE deleted_at IS NULL AND id IN (SELECT script_id FROM object_namespaces)
        """
    )
    op.execute(
        """
        UPDATE accounts SET home_id = (
            SELECT nodes.id FROM nodes JOIN targets ON targets.id = nodes.id
            ORDER BY targets.created_at, targets.id LIMIT 1
        ) WHERE id IN (SELECT account_id FROM scripts WHERE at_home)
        """
    )


def downgrade() -> None:
    op.drop_column("scripts", "at_home")
    op.drop_constraint(op.f("fk_accounts_home_id_nodes"), "accounts", type_="foreignkey")
    op.drop_column("accounts", "home_id")
    op.drop_column("nodes", "door_port")
