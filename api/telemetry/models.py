from datetime import datetime

from sqlalchemy import BigInteger, Column, String, Table
from sqlalchemy.orm import Mapped, mapped_column

from api import ids
from api.clock import now
from api.db import Model


class TelemetryBatch(Model):
    """Something that was ingested, until the collector has it."""

    __tablename__ = "telemetry_batches"

    id: Mapped[str] = mapped_column(primary_key=True, default=ids.hex32)
    node_id: Mapped[str]
    # `requests`: records as a node sent them; `lines`, `subrequests`: of rows of log_events (lines.py,
    # subrequests.py).
    kind: Mapped[str] = mapped_column(default="requests", server_default="requests")
    content: Mapped[bytes]
    records: Mapped[int]
    attempts: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(default=now, index=True)
    # Whoever sends it moves this on first, so that nobody else does meanwhile.
    due_at: Mapped[datetime] = mapped_column(default=now, index=True)


# What became of spans and log records: `sent`, `dropped` (no room to wait in), `refused`.
telemetry_counts = Table(
    "telemetry_counts",
    Model.metadata,
    Column("signal", String, primary_key=True),
    Column("outcome", String, primary_key=True),
    Column("records", BigInteger, nullable=False),
)
