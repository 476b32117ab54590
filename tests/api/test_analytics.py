"""Analytics Engine: what nodes send, what its SQL answers, and what it refuses."""

import gzip
import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, func, select
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from api.analytics import points
from api.analytics.models import data_points
from api.clock import now
from api.gateway import create_gateway
from api.invocations.ingestion import COLUMNS
from api.nodes.service import Enrolment
from tests.cast import Tenant

DAY = now().replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
# Each name stands for twice the one before it.
DOUBLING = ", ".join(f"a{n}+a{n} AS a{n + 1}" for n in range(30))
DATE = DAY.strftime("%Y-%m-%d")


def point(
    tenant: Tenant, minute: int, city: str, degrees: float, dataset: str = "weather"
) -> points.Point:
    at = round((DAY + timedelta(minutes=minute)).timestamp() * 1e6) + 250_000
    return (
        at,
        tenant.id,
        "s" * 32,
        dataset,
        f"station-{city[0]}",
        [city, "it's \\ 100%"],
        [degrees, 2.0],
    )


@pytest.fixture
def weather(session: Session, alice: Tenant, mallory: Tenant) -> Tenant:
    points.store(
        session,
        [
            point(alice, 0, "Oslo", -4),
            point(alice, 3, "Oslo", 2),
            point(alice, 7, "Rome", 18.5),
            point(alice, 61, "Rome", 21.5),
            point(alice, 62, "Rome", 20),
            point(alice, 62, "Oslo", 1, dataset="other"),
            point(mallory, 5, "Secret", 1000),
        ],
    )
    session.commit()
    return alice


def ask(tenant: Tenant, query: str) -> Any:
    answer = tenant.call("POST", "analytics_engine/sql", content=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def rows(tenant: Tenant, query: str) -> list[list[Any]]:
    return [list(row.values()) for row in ask(tenant, query)["data"]]


def test_the_answer_is_written_as_clickhouse_writes_it(weather: Tenant) -> None:
    query = "SELECT blob1 AS city, count() AS n, avg(double1) AS mean, max(timestamp) AS last FROM weather "
    query += "GROUP BY city ORDER BY n DESC LIMIT 1 FORMAT JSON"
    assert ask(weather, query) == {
        "meta": [
            {"name": "city", "type": "String"},
            {"name": "n", "type": "UInt64"},
            {"name": "mean", "type": "Float64"},
            {"name": "last", "type": "DateTime"},
        ],
        "data": [{"city": "Rome", "n": "3", "mean": 20.0, "last": f"{DATE} 01:02:00"}],
        "rows": 1,
        "rows_before_limit_at_least": 1,
    }
    lines = weather.call(
        "POST",
        "analytics_engine/sql",
        content="SELECT count() AS n FROM weather FORMAT JSONEachRow",
    )
    assert lines.text == '{"n": "5"}\n'
    tabs = weather.call(
        "GET",
        "analytics_engine/sql",
        params={
            "query": "SELECT blob2, double1 FROM weather WHERE double1 = 2 FORMAT TabSeparated"
        },
    )
    assert tabs.text == "it's \\\\ 100%\t2.0\n"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("SELECT SUM(_sample_interval) FROM weather", [["5"]]),
        ("SELECT SUM(_sample_interval * double1) / SUM(_sample_interval) FROM weather", [[11.6]]),
        ("SELECT min(double1), max(double1), sum(double2) FROM weather", [[-4.0, 21.5, 10.0]]),
        (
            "SELECT quantile(0.5)(double1), quantileExactWeighted(0.5)(double1, _sample_interval) FROM weather",
            [[18.5, 18.5]],
        ),
        ("SELECT quantile(0.25)(double1) FROM weather WHERE blob1 = 'Rome'", [[19.25]]),
        (
            "SELECT count(DISTINCT blob1), countIf(double1 > 0), sumIf(double1, blob1 = 'Oslo') FROM weather",
            [["2", "4", -2.0]],
        ),
        (
            "SELECT toStartOfInterval(timestamp, INTERVAL '5' MINUTE) AS t, count() AS n FROM weather GROUP BY t ORDER BY t",
            [[f"{DATE} 00:00:00", "2"], [f"{DATE} 00:05:00", "1"], [f"{DATE} 01:00:00", "2"]],
        ),
        (
            "SELECT intDiv(toUInt32(timestamp), 3600) * 3600 AS t, avg(double1) FROM weather GROUP BY t ORDER BY t",
            [[str(int(DAY.timestamp())), 5.5], [str(int(DAY.timestamp()) + 3600), 20.75]],
        ),
        (
            "SELECT toStartOfHour(timestamp) AS t, blob1, max(double1) AS m FROM weather GROUP BY t, blob1 HAVING m > 10 ORDER BY m DESC",
            [[f"{DATE} 01:00:00", "Rome", 21.5], [f"{DATE} 00:00:00", "Rome", 18.5]],
        ),
        (
            "SELECT double1 FROM weather WHERE timestamp >= toDateTime('DATE 01:00:00') AND timestamp < NOW() - INTERVAL '1' MINUTE ORDER BY double1",
            [[20.0], [21.5]],
        ),
        (
            "SELECT count() FROM weather WHERE timestamp > 'DATE 00:05:00' AND NOT (blob1 IN ('Oslo', 'x') OR double1 BETWEEN 21 AND 22)",
            [["2"]],
        ),
        (
            "SELECT index1, if(double1 < 0, 'frost', 'none') AS f FROM weather WHERE blob1 LIKE 'O%' ORDER BY double1",
            [["station-O", "frost"], ["station-O", "none"]],
        ),
        (
            "SELECT double1 / 0, double1 % 4, round(double1 / 3, 2), blob20, double20 FROM weather WHERE double1 = 18.5",
            [[None, 2.5, 6.17, "", 0.0]],
        ),
        ("SELECT blob1 FROM weather ORDER BY double1 LIMIT 2 OFFSET 3", [["Rome"], ["Rome"]]),
        ("SELECT count() FROM weather WHERE blob2 = 'it''s \\\\ 100%'", [["5"]]),
        ("SELECT count() FROM nothing", [["0"]]),
        ("SHOW TABLES", [["other"], ["weather"]]),
    ],
)
def test_what_its_sql_answers(weather: Tenant, query: str, expected: list[list[Any]]) -> None:
    assert rows(weather, query.replace("DATE", DATE)) == expected


def test_all_columns(weather: Tenant) -> None:
    found = ask(weather, "SELECT * FROM weather WHERE double1 = -4")["data"]
    assert len(found[0]) == 44
    assert found[0]["timestamp"] == f"{DATE} 00:00:00"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT 1; DELETE FROM data_points", "one of them at a time"),
        ("DROP TABLE data_points", "SELECT … FROM"),
        ("INSERT INTO weather VALUES (1)", "SELECT … FROM"),
        ("SELECT count() FROM weather UNION ALL SELECT count() FROM other", "SELECT … FROM"),
        ("WITH x AS (SELECT 1) SELECT count() FROM weather", "WITH"),
        ("SELECT count() FROM weather JOIN other ON 1 = 1", "JOIN"),
        ("SELECT count() FROM weather, other", "JOIN"),
        ("SELECT count() FROM public.accounts", "by its name alone"),
        ("SELECT count() FROM (SELECT 1)", "from which dataset"),
        ("SELECT (SELECT count() FROM accounts) FROM weather", "not supported"),
        ("SELECT account_id FROM weather", "no column account_id"),
        ("SELECT data_points.account_id FROM weather", "without a table"),
        ("SELECT blob21 FROM weather", "no column blob21"),
        ("SELECT pg_sleep(20) FROM weather", "pg_sleep"),
        ("SELECT current_setting('x') FROM weather", "current_setting"),
        ("SELECT version() FROM weather", "not supported"),
        ("SELECT blob1 + 1 FROM weather", "String"),
        ("SELECT count() FROM weather WHERE blob1", "no condition"),
        ("SELECT count() FROM weather WHERE blob1 = 1", "cannot be compared"),
        ("SELECT blob1, count() FROM weather", "GROUP BY"),
        ("SELECT double1 FROM weather WHERE timestamp > 'yesterday'", "is no time"),
        ("SELECT topK(3)(blob1) FROM weather", "topK"),
        ("SELECT quantile(2)(double1) FROM weather", "between 0 and 1"),
        ("SELECT count() FROM weather LIMIT -1", "whole number"),
        ("SELECT count() FROM weather FORMAT Parquet", "FORMAT JSON"),
        ("SELECT DISTINCT blob1 FROM weather", "DISTINCT"),
        ("SELECT count( FROM weather", "no SQL that can be read"),
        ("", "one of them at a time"),
        ("SELECT " + "(" * 3000 + "1" + ")" * 3000 + " FROM weather", "no SQL that can be read"),
        ("SELECT 1 AS a0, DOUBLING FROM weather", "too large"),
    ],
)
def test_what_is_refused_in_a_sentence(weather: Tenant, query: str, said: str) -> None:
    query = query.replace("DOUBLING", DOUBLING)
    status, _, message = weather.refusal("POST", "analytics_engine/sql", content=query)
    assert status == 400
    assert said in message
    assert rows(weather, "SELECT count() FROM weather") == [["5"]]


def test_no_query_reads_another_accounts_rows(weather: Tenant, mallory: Tenant) -> None:
    assert rows(mallory, "SELECT blob1 FROM weather") == [["Secret"]]
    assert rows(mallory, "SELECT count() FROM weather WHERE 1 = 1 OR double1 < 100") == [["1"]]
    assert rows(
        mallory, "SELECT count() FROM weather WHERE dataset = 'other' OR dataset = 'weather'"
    ) == [["1"]]
    assert rows(mallory, "SHOW TABLES") == [["weather"]]
    path = f"/client/v4/accounts/{weather.id}/analytics_engine/sql"
    headers = {"Authorization": f"Bearer {mallory.token}"}
    refused = mallory.client.post(path, content="SELECT count() FROM weather", headers=headers)
    assert refused.status_code == 403


@pytest.fixture
def gateway(connection: Connection) -> Iterator[TestClient]:
    with TestClient(create_gateway(), raise_server_exceptions=False) as client:
        yield client


def test_a_batch_is_stored_once_and_expires(
    gateway: TestClient, node: Enrolment, session: Session, alice: Tenant
) -> None:
    old = datetime(2025, 1, 1, tzinfo=UTC)
    sent = [
        point(alice, 1, "Oslo", 1.5),
        (round(old.timestamp() * 1e6), *point(alice, 1, "Old", 1)[1:]),
    ]
    batch = {"columns": COLUMNS, "requests": [], "points": sent}
    batch_id = uuid.uuid4()

    def send(content: object) -> int:
        return gateway.put(
            f"/edge/v1/batches/{batch_id}",
            content=gzip.compress(json.dumps(content).encode()),
            headers={"Authorization": f"Bearer {node.token}", "Content-Type": "application/gzip"},
        ).status_code

    assert send({**batch, "points": [[*sent[0][:5], ["a"] * 21, []]]}) == 400
    assert [send(batch), send(batch)] == [200, 200]
    assert [row.blobs[0] for row in session.execute(select(data_points))] == ["Oslo"]
    session.execute(data_points.update().values(at=old))
    points.expire(session)
    assert session.scalar(select(func.count()).select_from(data_points)) == 0
