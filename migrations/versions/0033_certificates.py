"""certificates of zones"""

import sqlalchemy as sa
from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def _moment(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False)


def _text(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.String(), nullable=False)


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    op.create_table(
        "certificates",
        _text("id"),
        _text("zone_id"),
        sa.Column("names", sa.ARRAY(sa.String()), nullable=False),
        _text("chain"),
        sa.Column("sealed_key", sa.LargeBinary(), nullable=False),
        _text("issuer"),
        _text("signature"),
        _text("fingerprint"),
        _text("bundle_method"),
        _moment("not_before"),
        _moment("not_after"),
        _moment("uploaded_at"),
        _moment("changed_at"),
        sa.ForeignKeyConstraint(
            ["zone_id"],
            ["zones.id"],
            name=op.f("fk_certificates_zone_id_zones"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_certificates")),
        sa.UniqueConstraint(
            "zone_id", "fingerprint", name=op.f("uq_certificates_zone_id_fingerprint")
        ),
    )


def downgrade() -> None:
    op.drop_table("certificates")
