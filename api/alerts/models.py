from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from api import ids
from api.clock import now
from api.db import Model


class DeliveryState(StrEnum):
    """How far a notice is; `failed` is given up."""

    QUEUED = "queued"
    SENDING = "sending"
    DELIVERED = "delivered"
    FAILED = "failed"


class Destination(Model):
    """Who is told: a webhook or a mailbox."""

    __tablename__ = "alert_destinations"

    id: Mapped[str] = mapped_column(primary_key=True, default=ids.hex32)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    name: Mapped[str]
    kind: Mapped[str]
    address: Mapped[str]
    # With which a webhook's notices are signed; None of a mailbox.
    sealed_secret: Mapped[bytes | None]
    created_at: Mapped[datetime] = mapped_column(default=now)


class Rule(Model):
    """What is watched, and from which figure on somebody is told."""

    __tablename__ = "alert_rules"

    id: Mapped[str] = mapped_column(primary_key=True, default=ids.hex32)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    name: Mapped[str]
    kind: Mapped[str]
    # One script; None: each of the account.
    script_id: Mapped[str | None] = mapped_column(ForeignKey("scripts.id"))
    # One queue; None: each of the account.
    queue_id: Mapped[str | None] = mapped_column(ForeignKey("queues.id", ondelete="CASCADE"))
    # One destination; None: each of the account.
    destination_id: Mapped[str | None] = mapped_column(
        ForeignKey("alert_destinations.id", ondelete="SET NULL")
    )
    threshold: Mapped[float]
    window_minutes: Mapped[int]
    muted_until: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=now)


class Alert(Model):
    """One time that a rule fired about one subject, until it was resolved."""

    __tablename__ = "alerts"

    id: Mapped[str] = mapped_column(primary_key=True, default=ids.hex32)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    rule_id: Mapped[str] = mapped_column(ForeignKey("alert_rules.id", ondelete="CASCADE"))
    # What it is about, by id, and as a person calls it.
    subject: Mapped[str]
    subject_name: Mapped[str]
    value: Mapped[float]
    summary: Mapped[str]
    # Whether anybody was told: a rule that is muted tells nobody until then.
    told: Mapped[bool] = mapped_column(default=False)
    fired_at: Mapped[datetime] = mapped_column(default=now)
    resolved_at: Mapped[datetime | None]

    rule: Mapped[Rule] = relationship(lazy="joined", innerjoin=True)

    __table_args__ = (
        # However many schedulers look, a subject fires once.
        Index(
            "uq_alerts_rule_id_subject_firing",
            "rule_id",
            "subject",
            unique=True,
            postgresql_where=text("resolved_at IS NULL"),
        ),
        Index("ix_alerts_account_id_fired_at", "account_id", "fired_at"),
    )


class QueueBacklog(Model):
    """What waited in a queue when its store was last asked (backlogs.py)."""

    __tablename__ = "queue_backlogs"

    queue_id: Mapped[str] = mapped_column(
        ForeignKey("queues.id", ondelete="CASCADE"), primary_key=True
    )
    messages: Mapped[int] = mapped_column(BigInteger)
    bytes: Mapped[int] = mapped_column(BigInteger)
    # When the oldest of them was sent; None when there is none.
    oldest_at: Mapped[datetime | None]
    seen_at: Mapped[datetime]


class Delivery(Model):
    """One notice to one destination, with how it went."""

    __tablename__ = "alert_deliveries"

    id: Mapped[str] = mapped_column(primary_key=True, default=ids.hex32)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    destination_id: Mapped[str] = mapped_column(
        ForeignKey("alert_destinations.id", ondelete="CASCADE"), index=True
    )
    alert_id: Mapped[str | None] = mapped_column(
        ForeignKey("alerts.id", ondelete="CASCADE"), index=True
    )
    event: Mapped[str]
    payload: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(default=DeliveryState.QUEUED)
    attempts: Mapped[int] = mapped_column(default=0)
    reason: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime] = mapped_column(default=now)
    due_at: Mapped[datetime] = mapped_column(default=now)
    finished_at: Mapped[datetime | None]

    destination: Mapped[Destination] = relationship(lazy="joined", innerjoin=True)

    __table_args__ = (
        Index("ix_alert_deliveries_account_id_created_at", "account_id", "created_at"),
        Index(
            "ix_alert_deliveries_due_at_waiting",
            "due_at",
            postgresql_where=text("state IN ('queued', 'sending')"),
        ),
    )
