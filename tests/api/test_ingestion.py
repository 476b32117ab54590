"""Request records on their way into Postgres: each batch once, and what its sums say."""

import gzip
import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, func, select, text
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from api.clock import now
from api.gateway import create_gateway
from api.invocations import partitions
from api.invocations.histogram import bucket_of, middle_ms, quantile_ms
from api.invocations.ingestion import COLUMNS
from api.invocations.models import invocations, losses, measures, rollups, statuses
from api.nodes.service import Enrolment

SCRIPT = "5" * 32


@pytest.fixture
def gateway(connection: Connection) -> Iterator[TestClient]:
    with TestClient(create_gateway(), raise_server_exceptions=False) as client:
        yield client


def _request(at: datetime, **changes: Any) -> list[Any]:
    values: dict[str, Any] = {
        "at_us": round(at.timestamp() * 1e6),
        "ray": "0123456789abcdef",
        "script_id": SCRIPT,
        "account_id": "a" * 32,
        "version_id": "v1",
        "host": "app.dev.localhost",
        "method": "GET",
        "path": "/",
        "status": 200,
        "outcome": "ok",
        "duration_us": 1500,
        "bytes_in": 100,
        "bytes_out": 200,
        "cold": False,
        **changes,
    }
    return [values[name] for name in COLUMNS]


def _packed(requests: list[Any], **more: Any) -> bytes:
    return gzip.compress(json.dumps({"columns": COLUMNS, "requests": requests, **more}).encode())


def _send(
    gateway: TestClient, node: Enrolment, content: bytes, batch_id: str | None = None
) -> tuple[int, Any]:
    answer = gateway.put(
        f"/edge/v1/batches/{batch_id or uuid.uuid4()}",
        content=content,
        headers={"Authorization": f"Bearer {node.token}", "Content-Type": "application/gzip"},
    )
    return answer.status_code, answer.json()


def _stored(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(invocations)) or 0


def test_a_batch_is_stored_and_rolled_up(
    gateway: TestClient, node: Enrolment, session: Session
) -> None:
    at = now().replace(second=10)
    batch = _packed(
        [
            _request(at),
            _request(at, duration_us=1600, cold=True),
            _request(at, outcome="exception", status=500),
            _request(at - timedelta(minutes=1)),
        ],
        measures=[
            [round(at.timestamp() * 1e6), SCRIPT, "v1", 40, 1000],
            [round(at.timestamp() * 1e6), SCRIPT, "v1", 2, 3000],
        ],
        lost={"front": 3},
    )
    assert _send(gateway, node, batch) == (200, {"taken": True})
    assert _stored(session) == 4
    rows = session.execute(select(rollups).order_by(rollups.c.minute, rollups.c.outcome)).all()
    assert [(row.outcome, row.requests, row.cold, row.bytes_out) for row in rows] == [
        ("ok", 1, 0, 200),
        ("exception", 1, 0, 200),
        ("ok", 2, 1, 400),
    ]
    (measure,) = session.execute(select(measures)).all()
    assert (measure.cpu_ms, measure.memory_bytes) == (42, 3000)
    assert session.execute(select(losses.c.reason, losses.c.records)).all() == [("front", 3)]


def test_what_a_node_added_up_counts_as_what_it_recorded(
    gateway: TestClient, node: Enrolment, session: Session
) -> None:
    at = now().replace(second=10)
    minute_us = round(at.replace(second=0, microsecond=0).timestamp() * 1e6)
    key = [minute_us, SCRIPT, "v1", 200, "ok", False]
    sums = [
        [*key, 300, 600, 4500, [[1500, 2], [90_000, 1]]],
        [minute_us, SCRIPT, "v1", 500, "exception", True, 100, 200, 1500, [[1500, 1]]],
    ]
    assert _send(gateway, node, _packed([_request(at)], sums=sums)) == (200, {"taken": True})
    assert _stored(session) == 1
    rows = session.execute(select(rollups).order_by(rollups.c.outcome, rollups.c.bucket)).all()
    assert [(row.outcome, row.bucket, row.requests, row.cold) for row in rows] == [
        ("exception", bucket_of(1500), 1, 1),
        ("ok", bucket_of(1500), 3, 0),
        ("ok", bucket_of(90_000), 1, 0),
    ]
    assert sum(row.bytes_in for row in rows if row.outcome == "ok") == 400
    assert sum(row.bytes_out for row in rows if row.outcome == "ok") == 800
    assert sum(row.duration_us for row in rows if row.outcome == "ok") == 6000
    by_status = select(statuses.c.status, statuses.c.requests).order_by(statuses.c.status)
    assert session.execute(by_status).all() == [(200, 4), (500, 1)]


@pytest.mark.parametrize(
    "broken",
    [
        [1, SCRIPT, "v1", 200, "ok", False, 1, 2, 3, [[1500, -1]]],
        [1, SCRIPT, "v1", 200, "ok", False, 1, 2, 3, [[1500]]],
        [1, SCRIPT, "v1", 200, "ok", False, 1, 2, 3],
        [-1, SCRIPT, "v1", 200, "ok", False, 1, 2, 3, [[1500, 1]]],
    ],
)
def test_broken_sums_are_refused_whole(
    gateway: TestClient, node: Enrolment, session: Session, broken: list[Any]
) -> None:
    assert _send(gateway, node, _packed([_request(now())], sums=[broken]))[0] == 400
    assert _stored(session) == 0


def test_sums_grow_with_every_batch(gateway: TestClient, node: Enrolment, session: Session) -> None:
    at = now().replace(second=10)
    measured = [[round(at.timestamp() * 1e6), SCRIPT, "v1", 40, 1000]]
    for _ in range(3):
        content = _packed([_request(at)], measures=measured, lost={"spool": 2})
        assert _send(gateway, node, content)[0] == 200
    assert session.scalar(select(rollups.c.requests)) == 3
    assert session.scalar(select(measures.c.cpu_ms)) == 120
    assert session.scalar(select(losses.c.records)) == 6


def test_a_batch_that_comes_again_counts_once(
    gateway: TestClient, node: Enrolment, session: Session
) -> None:
    content, batch_id = _packed([_request(now())], lost={"front": 1}), str(uuid.uuid4())
    assert _send(gateway, node, content, batch_id)[1] == {"taken": True}
    assert _send(gateway, node, content, batch_id)[1] == {"taken": False}
    assert _stored(session) == 1
    assert session.scalar(select(rollups.c.requests)) == 1
    assert session.scalar(select(losses.c.records)) == 1


NO_BATCHES = {
    "no gzip": b"no gzip",
    "no JSON": gzip.compress(b"no json"),
    "no fields": gzip.compress(b"{}"),
    "a short row": _packed([["too", "short"]]),
    "a letter": _packed([_request(datetime(2026, 1, 1, tzinfo=UTC), path="\0")]),
    "columns": gzip.compress(json.dumps({"columns": ["other"], "requests": []}).encode()),
}


@pytest.mark.parametrize("content", NO_BATCHES.values(), ids=NO_BATCHES)
def test_what_is_no_batch_is_refused_and_changes_nothing(
    gateway: TestClient, node: Enrolment, session: Session, content: bytes
) -> None:
    status, answer = _send(gateway, node, content)
    assert status == 400
    assert answer["error"]
    assert _stored(session) == 0


def test_only_a_node_may_send_batches(gateway: TestClient, node: Enrolment) -> None:
    node = Enrolment(node.node, "skn_wrong", "", "", "")
    assert _send(gateway, node, _packed([]))[0] == 401


def test_a_clock_that_is_wrong_makes_no_partition_of_the_next_century(
    gateway: TestClient, node: Enrolment, session: Session
) -> None:
    assert _send(gateway, node, _packed([_request(now() + timedelta(days=9000))]))[0] == 200
    assert session.scalar(select(invocations.c.at)) < now() + timedelta(hours=2)


def test_days_come_and_go(gateway: TestClient, node: Enrolment, session: Session) -> None:
    today = now()
    partitions.ensure(session, {(today - timedelta(days=20)).date()})
    session.commit()
    # Too old to be kept: counted all the same.
    late = _packed([_request(today - timedelta(days=20)), _request(today)])
    assert _send(gateway, node, late)[0] == 200
    assert _stored(session) == 1
    assert session.scalar(select(func.count()).select_from(rollups)) == 2
    gone = partitions.expire(session)
    assert gone == [f"invocations_{today - timedelta(days=20):%Y%m%d}"]
    kept = partitions.partitions(session)
    assert f"invocations_{today + timedelta(days=2):%Y%m%d}" in kept
    assert _stored(session) == 1
    session.execute(text("UPDATE rollups SET minute = minute - interval '91 days'"))
    assert partitions.expire(session) == []
    assert session.scalar(select(func.count()).select_from(rollups)) == 0


def test_quantiles_are_off_by_a_bucket_at_most() -> None:
    counts: dict[int, int] = {}
    for ms in range(1, 1001):
        bucket = bucket_of(ms * 1000)
        counts[bucket] = counts.get(bucket, 0) + 1
    for share in (0.5, 0.95, 0.99):
        found = quantile_ms(counts, share)
        assert found == pytest.approx(1000 * share, rel=0.13)
    assert quantile_ms({}, 0.5) is None
    assert bucket_of(0) == 0
    assert bucket_of(10**12) == 80
    assert middle_ms(bucket_of(1000)) == pytest.approx(1, rel=0.13)
