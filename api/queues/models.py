from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from api import ids
from api.clock import now
from api.db import Model
from api.scripts.models import Script


class Queue(Model):
    """A name for messages. They are in the store of the account, under the same name."""

    __tablename__ = "queues"

    id: Mapped[str] = mapped_column(primary_key=True, default=ids.hex32)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    name: Mapped[str]
    # Seconds.
    delivery_delay: Mapped[int] = mapped_column(default=0)
    message_retention_period: Mapped[int]
    delivery_paused: Mapped[bool] = mapped_column(default=False)
    # Which of its settings are the newest, and which of them its store has heard of.
    revision: Mapped[int] = mapped_column(BigInteger)
    configured: Mapped[int] = mapped_column(BigInteger, default=0)
    created_at: Mapped[datetime] = mapped_column(default=now)
    modified_at: Mapped[datetime] = mapped_column(default=now)

    consumer: Mapped["QueueConsumer | None"] = relationship(
        back_populates="queue", cascade="all, delete-orphan"
    )

    __table_args__ = (UniqueConstraint("account_id", "name"),)


class QueueConsumer(Model):
    """Who takes messages out of a queue: a script whose `queue` handler is called, or who asks over HTTP."""

    __tablename__ = "queue_consumers"

    id: Mapped[str] = mapped_column(primary_key=True, default=ids.hex32)
    # A queue has one at most.
    queue_id: Mapped[str] = mapped_column(ForeignKey("queues.id"), unique=True)
    type: Mapped[str]
    script_id: Mapped[str | None] = mapped_column(ForeignKey("scripts.id"), index=True)
    dead_letter_queue: Mapped[str | None]
    batch_size: Mapped[int]
    max_retries: Mapped[int]
    # Seconds.
    retry_delay: Mapped[int]
    # Of a script: how long a batch waits to become full, and how many are on their way at once.
    max_wait_time_ms: Mapped[int]
    max_concurrency: Mapped[int | None]
    # Of one that asks: how long it has until its messages are given to another one.
    visibility_timeout_ms: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(default=now)

    queue: Mapped[Queue] = relationship(back_populates="consumer")
    script: Mapped[Script | None] = relationship()
