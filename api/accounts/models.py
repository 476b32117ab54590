from datetime import datetime

from sqlalchemy import ForeignKey, Index, column, func, select, table, text
from sqlalchemy.orm import Mapped, column_property, mapped_column, relationship

from api import ids
from api.clock import now
from api.db import Model

# Nodes know accounts, and not the other way round.
_NODES = table("targets", column("id"), column("name"))


class Account(Model):
    """The tenant; its subdomain stands in every live URL."""

    __tablename__ = "accounts"

    id: Mapped[str] = mapped_column(primary_key=True, default=ids.hex32)
    name: Mapped[str]
    subdomain: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    # The node that has its Durable Objects; none before there are any: see nodes/homes.py.
    home_id: Mapped[str | None] = mapped_column(ForeignKey("nodes.id", ondelete="SET NULL"))

    home_name: Mapped[str | None] = column_property(
        select(_NODES.c.name).where(_NODES.c.id == home_id).scalar_subquery(), deferred=True
    )


class Member(Model):
    """A person in an account."""

    __tablename__ = "members"

    id: Mapped[str] = mapped_column(primary_key=True, default=ids.hex32)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    email: Mapped[str]
    password_hash: Mapped[str]
    role: Mapped[str] = mapped_column(default="administrator")
    created_at: Mapped[datetime] = mapped_column(default=now)

    account: Mapped[Account] = relationship()

    __table_args__ = (Index("uq_members_email_lower", func.lower(text("email")), unique=True),)


class Token(Model):
    """An API token. Only its digest is kept, so that a stolen database holds no credential."""

    __tablename__ = "tokens"

    id: Mapped[str] = mapped_column(primary_key=True, default=ids.hex32)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    name: Mapped[str]
    digest: Mapped[str] = mapped_column(unique=True)
    # By which a person recognises it; None for one that was made before these were kept.
    last_four: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]

    account: Mapped[Account] = relationship()


class LogInSession(Model):
    """A browser that is logged in."""

    __tablename__ = "sessions"

    id: Mapped[str] = mapped_column(primary_key=True, default=ids.hex32)
    member_id: Mapped[str] = mapped_column(ForeignKey("members.id"), index=True)
    digest: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime]

    member: Mapped[Member] = relationship()


class SetupToken(Model):
    """The one-time token in the URL that `up` prints while there is no administrator."""

    __tablename__ = "setup_tokens"

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    digest: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    account: Mapped[Account] = relationship()


class LogInFailure(Model):
    """A failed login, kept for as long as it counts against further attempts."""

    __tablename__ = "log_in_failures"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    email: Mapped[str] = mapped_column(index=True)
    failed_at: Mapped[datetime] = mapped_column(default=now)
