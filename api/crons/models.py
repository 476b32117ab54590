from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from api import ids
from api.clock import now
from api.db import Model
from api.scripts.models import Script


class RunState(StrEnum):
    """How far an occurrence is; only `finished` has an outcome."""

    QUEUED = "queued"
    SENT = "sent"
    RUNNING = "running"
    FINISHED = "finished"


class CronTrigger(Model):
    """A script's `scheduled` handler is called at these times."""

    __tablename__ = "cron_triggers"

    id: Mapped[str] = mapped_column(primary_key=True, default=ids.hex32)
    script_id: Mapped[str] = mapped_column(ForeignKey("scripts.id"))
    cron: Mapped[str]
    position: Mapped[int]
    # The next occurrence; whoever finds it due makes the run and moves it on, in one transaction.
    next_at: Mapped[datetime | None] = mapped_column(index=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    modified_at: Mapped[datetime] = mapped_column(default=now)

    script: Mapped[Script] = relationship(lazy="joined", innerjoin=True)

    __table_args__ = (UniqueConstraint("script_id", "cron"),)


class CronRun(Model):
    """One occurrence of a trigger, or one that a person asked for. It is sent to one node, once."""

    __tablename__ = "cron_runs"

    id: Mapped[str] = mapped_column(primary_key=True, default=ids.hex32)
    script_id: Mapped[str] = mapped_column(ForeignKey("scripts.id"), index=True)
    cron: Mapped[str]
    scheduled_at: Mapped[datetime]
    manual: Mapped[bool] = mapped_column(default=False)
    late: Mapped[bool] = mapped_column(default=False)
    state: Mapped[str] = mapped_column(default=RunState.QUEUED, index=True)
    # When a run is looked after that nobody has spoken of.
    due_at: Mapped[datetime] = mapped_column(default=now)
    node_name: Mapped[str] = mapped_column(default="")
    outcome: Mapped[str] = mapped_column(default="")
    reason: Mapped[str] = mapped_column(default="")
    logs: Mapped[list[str]] = mapped_column(default=list)
    duration_ms: Mapped[int | None]
    finished_at: Mapped[datetime | None]

    # One row an occurrence, however many schedulers see it; asking for one twice is meant.
    __table_args__ = (UniqueConstraint("script_id", "cron", "scheduled_at", "manual"),)
