"""Tables of what happened. They are written by the million, so they are tables and no classes."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    ForeignKey,
    Index,
    SmallInteger,
    String,
    Table,
)

from api.db import Model

# One row per request that reached a script. Partitioned by day (partitions.py), so that an old day
# goes at once. No key: a batch that was taken already is known by `ingested_batches`.
invocations = Table(
    "invocations",
    Model.metadata,
    Column("at", DateTime(timezone=True), nullable=False),
    Column("ray", String, nullable=False),
    Column("node_id", String, nullable=False),
    Column("account_id", String, nullable=False),
    Column("script_id", String, nullable=False),
    Column("version_id", String, nullable=False),
    Column("host", String, nullable=False),
    Column("method", String, nullable=False),
    Column("path", String, nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("outcome", String, nullable=False),
    Column("duration_us", BigInteger, nullable=False),
    Column("bytes_in", BigInteger, nullable=False),
    Column("bytes_out", BigInteger, nullable=False),
    Column("cold", Boolean, nullable=False),
    # How long the start took that it waited for, it was in the front, and the cell took until it
    # answered. Not known of requests that an older agent recorded.
    Column("start_us", BigInteger),
    Column("front_us", BigInteger),
    Column("cell_us", BigInteger),
    Index("ix_invocations_script_id_at", "script_id", "at"),
    Index("ix_invocations_ray", "ray"),
    postgresql_partition_by="RANGE (at)",
)

# Requests of one minute, by how they went and how long they took: every number of it adds up.
rollups = Table(
    "rollups",
    Model.metadata,
    Column("script_id", String, primary_key=True),
    Column("minute", DateTime(timezone=True), primary_key=True),
    Column("version_id", String, primary_key=True),
    Column("node_id", String, primary_key=True),
    Column("outcome", String, primary_key=True),
    Column("bucket", SmallInteger, primary_key=True),  # of the duration: histogram.py
    Column("requests", BigInteger, nullable=False),
    Column("cold", BigInteger, nullable=False),
    Column("duration_us", BigInteger, nullable=False),
    Column("bytes_in", BigInteger, nullable=False),
    Column("bytes_out", BigInteger, nullable=False),
    Index("ix_rollups_minute", "minute"),
)

# Requests of one minute by what was answered.
statuses = Table(
    "statuses",
    Model.metadata,
    Column("script_id", String, primary_key=True),
    Column("minute", DateTime(timezone=True), primary_key=True),
    Column("version_id", String, primary_key=True),
    Column("node_id", String, primary_key=True),
    Column("status", SmallInteger, primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Index("ix_statuses_minute", "minute"),
)

# All requests there ever were of a script on a node: what only grows, as a counter must.
totals = Table(
    "totals",
    Model.metadata,
    Column("script_id", String, primary_key=True),
    Column("node_id", String, primary_key=True),
    Column("outcome", String, primary_key=True),
    Column("bucket", SmallInteger, primary_key=True),  # of the duration: histogram.py
    Column("requests", BigInteger, nullable=False),
    Column("cold", BigInteger, nullable=False),
    Column("duration_us", BigInteger, nullable=False),
    Column("bytes_in", BigInteger, nullable=False),
    Column("bytes_out", BigInteger, nullable=False),
)

# What the processes of a version used in one minute on one node.
measures = Table(
    "measures",
    Model.metadata,
    Column("script_id", String, primary_key=True),
    Column("minute", DateTime(timezone=True), primary_key=True),
    Column("version_id", String, primary_key=True),
    Column("node_id", String, primary_key=True),
    Column("cpu_ms", BigInteger, nullable=False),
    Column("memory_bytes", BigInteger, nullable=False),  # the most at once, of all its processes
    Index("ix_measures_minute", "minute"),
)

# What a script did through its bindings on one day (UTC): reads and writes, of D1 in rows.
operations = Table(
    "operations",
    Model.metadata,
    Column("script_id", String, primary_key=True),
    Column("day", Date, primary_key=True),
    Column("kind", String, primary_key=True),  # of store: kv, d1, r2, queues, durable_objects
    Column("node_id", String, primary_key=True),
    Column("reads", BigInteger, nullable=False),
    Column("writes", BigInteger, nullable=False),
    Index("ix_operations_day", "day"),
)

ingested_batches = Table(
    "ingested_batches",
    Model.metadata,
    Column("node_id", String, primary_key=True),
    Column("batch_id", String, primary_key=True),
    Column("ingested_at", DateTime(timezone=True), nullable=False, index=True),
)

# Records that a node had to drop, by the reason it gives.
losses = Table(
    "losses",
    Model.metadata,
    Column("node_id", String, ForeignKey("nodes.id", ondelete="CASCADE"), primary_key=True),
    Column("reason", String, primary_key=True),
    Column("records", BigInteger, nullable=False),
    Column("last_at", DateTime(timezone=True), nullable=False),
)
