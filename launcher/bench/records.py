"""`./skerry bench records`: what records cost and how fast they are found, in a database of its own.

Records a second that one Postgres takes, as batches of a node; and a query of a day of many records by script and
status, as somebody asks who looks for what went wrong. The day is made in Postgres, into a table without indexes
that is not logged, by two sessions; then it is indexed and becomes the partition. One row after the other into two
indexes, in the order of chance, took longer than anybody waited.
"""

import gzip
import json
import random
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.orm import Session

from api.db import SessionFactory
from api.invocations import ingestion
from api.invocations.ingestion import COLUMNS
from launcher import programs
from launcher.bench import report
from launcher.bench.row import Row
from launcher.errors import LauncherError
from launcher.paths import ROOT
from launcher.progress import say, step
from launcher.testing import test_servers

TITLE = "Records"
RECORDS = 10_000_000
SCRIPTS = 200
BATCHES, BATCH_RECORDS = 20, 5000
QUERIES = 40
GOAL_MS = 1000.0
CHUNK, SESSIONS = 250_000, 2
# On a busy machine the day is what was made by then, and the table says how much that is.
FILL_SECONDS_MAX = 240.0

# A day of visits: one script in four of them is the busiest, one request in fifty fails.
_FILL = """
INSERT INTO filled (at, ray, node_id, account_id, script_id, version_id, host, method, path,
                         status, outcome, duration_us, bytes_in, bytes_out, cold)
SELECT CAST(:day AS timestamptz) + random() * interval '1 day',
       lpad(to_hex(n), 16, '0'), md5('node'), md5('account'),
       lpad((CASE WHEN random() < 0.25 THEN 0 ELSE floor(random() * :scripts)::int END)::text, 32, '0'),
       md5('version'), 'app.dev.localhost', 'GET', '/items/' || n % 1000,
       CASE WHEN random() < 0.02 THEN 500 ELSE 200 END,
       CASE WHEN random() < 0.02 THEN 'exception' ELSE 'ok' END,
       (random() * 100000)::bigint, 200, 2000, false
FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) AS n
"""
_INDEXES = "SELECT indexdef FROM pg_indexes WHERE tablename = 'invocations'"
_NEWEST = """
SELECT at, ray, status, duration_us FROM invocations
WHERE script_id = :script AND at >= :begin AND at < :end AND status = :status
ORDER BY at DESC LIMIT 100
"""
# Out of the sums, as *Metrics* asks.
_COUNTED = """
SELECT date_bin('15 minutes', minute, CAST(:begin AS timestamptz)) AS step, status, sum(requests)
FROM statuses WHERE script_id = :script AND minute >= :begin AND minute < :end GROUP BY 1, 2
"""
_SUMS = """
INSERT INTO statuses (script_id, minute, version_id, node_id, status, requests)
SELECT script_id, date_trunc('minute', at), version_id, node_id, status, count(*)
FROM filled GROUP BY 1, 2, 3, 4, 5
"""


def run(*, records: int = RECORDS, save: bool = False) -> int:
    """Fill, measure, print the table; the exit status."""
    if programs.external_database() is not None:
        raise LauncherError("This fills a database: unset DATABASE_URL and REDIS_URL first.")
    with test_servers() as servers:
        made, rows = measure(servers["TEST_DATABASE_URL"], records)
    said = _said(rows, made)
    say(said)
    if save:
        say(f"Written to {report.save_section(TITLE, said)}.")
    return 0


def measure(database: str, records: int) -> tuple[int, list[Row]]:
    """How many records the day got, and the rows."""
    url = make_url(database).set(drivername="postgresql+psycopg")
    config = Config(ROOT / "migrations" / "alembic.ini")
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.commit()
        SessionFactory.configure(bind=engine)
        yesterday = (datetime.now(UTC) - timedelta(days=1)).date()
        with step(f"{BATCHES} batches"):
            rows = [taken()]
        with step(f"{records:,} records of a day"):
            made = fill(engine, yesterday.isoformat(), records)
        midnight = datetime.combine(yesterday, datetime.min.time(), UTC)
        with step("queries"):
            rows += [
                asked(f"{name}, {who}", query, midnight, script)
                for who, script in (("the busiest script", _script(0)), ("another", None))
                for name, query in (
                    ("newest 100 with status 500", _NEWEST),
                    ("counts by status", _COUNTED),
                )
            ]
    finally:
        SessionFactory.configure(bind=None)
        engine.dispose()
    return made, rows


def taken() -> Row:
    """Batches as a node sends them, unpacked, checked, stored, rolled up and committed one by one."""
    row = Row(f"records a second that one Postgres takes, batches of {BATCH_RECORDS:,}", "1/s")
    for _ in range(BATCHES):
        content = _batch()
        began = time.monotonic()
        with SessionFactory.begin() as session:
            ingestion.take(session, "node", str(uuid.uuid4()), ingestion.read(content))
        row.values.append(BATCH_RECORDS / (time.monotonic() - began))
    return row


def _batch() -> bytes:
    requests: list[list[Any]] = []
    for number in range(BATCH_RECORDS):
        values: dict[str, Any] = {
            "at_us": time.time_ns() // 1000,
            "ray": f"{number:016x}",
            "script_id": _script(number % SCRIPTS),
            "account_id": "account",
            "version_id": "version",
            "host": "app.dev.localhost",
            "method": "GET",
            "path": f"/items/{number}",
            "status": 200,
            "outcome": "ok",
            "duration_us": random.randrange(100_000),
            "bytes_in": 200,
            "bytes_out": 2000,
            "cold": False,
        }
        requests.append([values[name] for name in COLUMNS])
    return gzip.compress(json.dumps({"columns": COLUMNS, "requests": requests}).encode(), 1)


def fill(engine: Engine, day: str, records: int) -> int:
    """Make a day of records and let it be a partition; how many it got in the time there is."""
    with engine.begin() as connection:
        connection.execute(text("CREATE UNLOGGED TABLE filled (LIKE invocations)"))
    until = time.monotonic() + FILL_SECONDS_MAX
    starts = range(1, records + 1, CHUNK)

    def part(first: int) -> int:
        if time.monotonic() > until:
            return 0
        last = min(first + CHUNK - 1, records)
        values = {"day": f"{day} 00:00+00", "scripts": SCRIPTS, "first": first, "last": last}
        with engine.begin() as connection:
            connection.execute(text(_FILL), values)
        return last - first + 1

    with ThreadPoolExecutor(SESSIONS) as pool:
        made = sum(pool.map(part, starts))
    end = (datetime.fromisoformat(day) + timedelta(days=1)).date().isoformat()
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL maintenance_work_mem = '256MB'"))
        connection.execute(text("SET LOCAL work_mem = '128MB'"))
        connection.execute(text(_SUMS))
        # Postgres takes indexes that are there already for those of the partition.
        for definition in connection.scalars(text(_INDEXES)).all():
            connection.execute(text(_of_filled(definition)))
        connection.execute(
            text(
                f"ALTER TABLE invocations ATTACH PARTITION filled"
                f" FOR VALUES FROM ('{day} 00:00+00') TO ('{end} 00:00+00')"
            )
        )
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE filled, statuses"))  # as autovacuum does
    return made


def _of_filled(definition: str) -> str:
    """`CREATE INDEX name ON ONLY public.invocations …`, for the table that becomes a partition."""
    name, _, rest = definition.removeprefix("CREATE INDEX ").partition(" ON ONLY ")
    return f"CREATE INDEX {name}_filled ON filled {rest.partition(' ')[2]}"


def _script(number: int) -> str:
    return f"{number:032}"


def asked(name: str, query: str, begin: datetime, script: str | None) -> Row:
    """Each time for another stretch of the day, of an hour up to all of it."""
    row = Row(name, "ms")
    chance = random.Random(1)
    with SessionFactory() as session:
        for _ in range(QUERIES):
            hours = chance.choice((1, 6, 24))
            start = begin + timedelta(hours=chance.randrange(25 - hours))
            values = {
                "script": script or _script(chance.randrange(1, SCRIPTS)),
                "begin": start,
                "end": start + timedelta(hours=hours),
                "status": 500,
            }
            row.values.append(_milliseconds(session, query, values))
    return row


def _milliseconds(session: Session, query: str, values: dict[str, Any]) -> float:
    began = time.monotonic()
    session.execute(text(query), values).all()
    return (time.monotonic() - began) * 1000


def _said(rows: list[Row], records: int) -> str:
    width = max(len(row.name) for row in rows)
    lines = [
        "",
        f"| {'row':<{width}} |    median |       p95 | unit |",
        f"|-{'-' * width}-|----------:|----------:|------|",
        *(
            f"| {row.name:<{width}} | {row.median:>9,.1f} | {row.percentile(95):>9,.1f} | {row.unit:<4} |"
            for row in rows
        ),
        "",
        f"- queries of a day of {records:,} records, worst p95: "
        f"{max(row.percentile(95) for row in rows if row.unit == 'ms'):,.0f} ms "
        f"(goal at most {GOAL_MS:,.0f} ms)",
        "",
        report.machine(),
    ]
    return "\n".join(lines)
