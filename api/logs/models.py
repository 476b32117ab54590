"""The table of stored logs: what scripts printed and threw, and the invocations it belongs to."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Float,
    Index,
    Integer,
    SmallInteger,
    String,
    Table,
)
from sqlalchemy.dialects.postgresql import JSONB

from api.db import Model

# A row per console line, exception and invocation. What is known of an invocation stands in each of
# its rows, so that every filter reads one row. Partitioned by day (api/invocations/partitions.py),
# without a key, as `invocations` is.
log_events = Table(
    "log_events",
    Model.metadata,
    Column("at", DateTime(timezone=True), nullable=False),
    Column("invocation", String, nullable=False),  # the Ray id, else one that was made up
    Column("number", Integer, nullable=False),  # within the invocation, which is 0 itself
    Column("kind", String, nullable=False),  # invocation, log, exception
    Column("account_id", String, nullable=False),
    Column("script_id", String, nullable=False),
    Column("script_name", String, nullable=False),
    Column("version_id", String, nullable=False),
    Column("node_id", String, nullable=False),
    Column("entrypoint", String, nullable=False),
    Column("trigger", String, nullable=False),  # fetch, scheduled, queue, alarm, rpc …
    Column("ray", String, nullable=False),
    Column("outcome", String, nullable=False),  # in Cloudflare's words
    Column("method", String, nullable=False),
    Column("url", String, nullable=False),
    Column("path", String, nullable=False),
    Column("status", SmallInteger),
    Column("duration_us", BigInteger),
    Column("cold", Boolean),
    Column("level", String, nullable=False),
    Column("message", String, nullable=False),
    Column("fields", JSONB, nullable=False),  # of an object that was logged, of the event
    Column("rate", Float, nullable=False),  # of the head sampling: this row stands for 1 / rate
    Column("truncated", Boolean, nullable=False),
    Column("subrequests", Integer),  # null: not recorded
    Index("ix_log_events_account_id_at", "account_id", "at"),
    Index("ix_log_events_script_id_at", "script_id", "at"),
    Index("ix_log_events_ray", "ray"),
    postgresql_partition_by="RANGE (at)",
)
