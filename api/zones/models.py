from datetime import datetime
from enum import StrEnum

from sqlalchemy import ARRAY, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from api import ids
from api.accounts.models import Account
from api.clock import now
from api.db import Model
from api.scripts.models import Script


class ZoneStatus(StrEnum):
    PENDING = "pending"
    ACTIVE = "active"


class Zone(Model):
    """A domain of an account. A pending one waits for its proof, and nothing can lead to a script."""

    __tablename__ = "zones"

    id: Mapped[str] = mapped_column(primary_key=True, default=ids.hex32)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    # The apex in lower case, international labels as A-labels.
    name: Mapped[str]
    status: Mapped[str] = mapped_column(default=ZoneStatus.PENDING)
    # What the TXT record `_skerry-challenge.<name>` has to hold.
    token: Mapped[str] = mapped_column(default=ids.hex32)
    created_at: Mapped[datetime] = mapped_column(default=now)
    verified_at: Mapped[datetime | None]
    # The last look for the record and what it found wrong.
    checked_at: Mapped[datetime | None]
    problem: Mapped[str] = mapped_column(default="")
    # None for an active zone, and for one that nobody looks for any more.
    next_check_at: Mapped[datetime | None] = mapped_column(index=True)

    account: Mapped[Account] = relationship(lazy="joined", innerjoin=True)

    @property
    def active(self) -> bool:
        return self.status == ZoneStatus.ACTIVE

    @property
    def challenge(self) -> str:
        """The name of its TXT record."""
        return f"_skerry-challenge.{self.name}"

    __table_args__ = (
        UniqueConstraint("account_id", "name"),
        Index(
            "uq_zones_name_active", "name", unique=True, postgresql_where=text("status = 'active'")
        ),
    )


class Route(Model):
    """Requests that fit the pattern go to the script."""

    __tablename__ = "routes"

    id: Mapped[str] = mapped_column(primary_key=True, default=ids.hex32)
    zone_id: Mapped[str] = mapped_column(ForeignKey("zones.id", ondelete="CASCADE"))
    pattern: Mapped[str]
    script_id: Mapped[str] = mapped_column(ForeignKey("scripts.id"), index=True)
    created_at: Mapped[datetime] = mapped_column(default=now)

    zone: Mapped[Zone] = relationship(lazy="joined", innerjoin=True)
    script: Mapped[Script] = relationship(lazy="joined", innerjoin=True)

    __table_args__ = (UniqueConstraint("zone_id", "pattern"),)


class CustomDomain(Model):
    """A host name whose origin is the script."""

    __tablename__ = "custom_domains"

    id: Mapped[str] = mapped_column(primary_key=True, default=ids.hex32)
    zone_id: Mapped[str] = mapped_column(ForeignKey("zones.id", ondelete="CASCADE"), index=True)
    hostname: Mapped[str] = mapped_column(unique=True)
    script_id: Mapped[str] = mapped_column(ForeignKey("scripts.id"), index=True)
    created_at: Mapped[datetime] = mapped_column(default=now)

    zone: Mapped[Zone] = relationship(lazy="joined", innerjoin=True)
    script: Mapped[Script] = relationship(lazy="joined", innerjoin=True)


class Certificate(Model):
    """What the front of every node shows for names of the zone, once that is active."""

    __tablename__ = "certificates"

    id: Mapped[str] = mapped_column(primary_key=True, default=ids.hex32)
    zone_id: Mapped[str] = mapped_column(ForeignKey("zones.id", ondelete="CASCADE"))
    # Lower-case A-labels; a wildcard only as the whole first label.
    names: Mapped[list[str]] = mapped_column(ARRAY(String))
    # PEM, the leaf first. Like the key it is asked for only where it is sent to a node.
    chain: Mapped[str] = mapped_column(deferred=True)
    sealed_key: Mapped[bytes] = mapped_column(deferred=True)
    issuer: Mapped[str]
    signature: Mapped[str]
    # SHA-256 of the leaf, in hex.
    fingerprint: Mapped[str]
    bundle_method: Mapped[str]
    not_before: Mapped[datetime]
    not_after: Mapped[datetime]
    # When this chain came; a later one than that of another certificate wins the names that both have.
    uploaded_at: Mapped[datetime] = mapped_column(default=now)
    changed_at: Mapped[datetime] = mapped_column(default=now)

    __table_args__ = (UniqueConstraint("zone_id", "fingerprint"),)
