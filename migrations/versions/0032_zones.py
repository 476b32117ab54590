"""zones, routes and custom domains"""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None


def _moment(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    op.create_table(
        "zones",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("token", sa.String(), nullable=False),
        _moment("created_at"),
        _moment("verified_at", nullable=True),
        _moment("checked_at", nullable=True),
        sa.Column("problem", sa.String(), nullable=False),
        _moment("next_check_at", nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_zones_account_id_accounts")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_zones")),
        sa.UniqueConstraint("account_id", "name", name=op.f("uq_zones_account_id_name")),
    )
    op.create_index(op.f("ix_zones_next_check_at"), "zones", ["next_check_at"])
    op.create_index(
        "uq_zones_name_active",
        "zones",
        ["name"],
        unique=True,
        postgresql_where=sa.text("status = 'active'"),
    )
    op.create_table(
        "routes",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("zone_id", sa.String(), nullable=False),
        sa.Column("pattern", sa.String(), nullable=False),
        sa.Column("script_id", sa.String(), nullable=False),
        _moment("created_at"),
        sa.ForeignKeyConstraint(
            ["zone_id"], ["zones.id"], name=op.f("fk_routes_zone_id_zones"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["script_id"], ["scripts.id"], name=op.f("fk_routes_script_id_scripts")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_routes")),
        sa.UniqueConstraint("zone_id", "pattern", name=op.f("uq_routes_zone_id_pattern")),
    )
    op.create_index(op.f("ix_routes_script_id"), "routes", ["script_id"])
    op.create_table(
        "custom_domains",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("zone_id", sa.String(), nullable=False),
        sa.Column("hostname", sa.String(), nullable=False),
        sa.Column("script_id", sa.String(), nullable=False),
        _moment("created_at"),
        sa.ForeignKeyConstraint(
            ["zone_id"],
            ["zones.id"],
            name=op.f("fk_custom_domains_zone_id_zones"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["script_id"], ["scripts.id"], name=op.f("fk_custom_domains_script_id_scripts")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_custom_domains")),
        sa.UniqueConstraint("hostname", name=op.f("uq_custom_domains_hostname")),
    )
    op.create_index(op.f("ix_custom_domains_script_id"), "custom_domains", ["script_id"])
    op.create_index(op.f("ix_custom_domains_zone_id"), "custom_domains", ["zone_id"])


def downgrade() -> None:
    op.drop_table("custom_domains")
    op.drop_table("routes")
    op.drop_table("zones")
