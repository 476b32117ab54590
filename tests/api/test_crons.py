"""Cron triggers: Cloudflare's dialect, what is due, and that each occurrence runs once."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from api.clock import now
from api.crons import service
from api.crons.expression import CronError, read
from api.crons.models import CronRun, CronTrigger
from tests.cast import Tenant, upload_parts

SCHEDULES = "workers/scripts/clock/schedules"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("cron", "after", "expected"),
    [
        ("* * * * *", "2026-01-01T10:00:30", ["2026-01-01T10:01", "2026-01-01T10:02"]),
        ("*/20 9-10 * * *", "2026-01-01T10:20", ["2026-01-01T10:40", "2026-01-02T09:00"]),
        ("5/25 0 * * *", "2026-01-01T00:05", ["2026-01-01T00:30", "2026-01-01T00:55"]),
        ("0 0 * * 1", "2026-01-01T00:00", ["2026-01-04T00:00", "2026-01-11T00:00"]),
        ("0 0 * * SUN", "2026-01-01T00:00", ["2026-01-04T00:00"]),
        ("0 0 * * mon-fri", "2026-01-02T12:00", ["2026-01-05T00:00", "2026-01-06T00:00"]),
        ("0 0 L * *", "2026-02-01T00:00", ["2026-02-28T00:00", "2026-03-31T00:00"]),
        ("0 0 LW * *", "2026-01-31T00:00", ["2026-02-27T00:00", "2026-03-31T00:00"]),
        ("0 0 15W * *", "2026-02-01T00:00", ["2026-02-16T00:00", "2026-03-16T00:00"]),
        ("0 0 1W * *", "2026-07-31T00:00", ["2026-08-03T00:00", "2026-09-01T00:00"]),
        ("0 18 * * 6L", "2026-01-01T00:00", ["2026-01-30T18:00", "2026-02-27T18:00"]),
        ("0 0 * * FRI#2", "2026-01-01T00:00", ["2026-01-09T00:00", "2026-02-13T00:00"]),
        ("0 0 13 * FRI", "2026-01-01T00:00", ["2026-01-02T00:00", "2026-01-09T00:00"]),
        ("0 0 29 FEB *", "2026-01-01T00:00", ["2028-02-29T00:00", "2032-02-29T00:00"]),
        ("59 23 31 DEC *", "2026-12-31T23:59", ["2027-12-31T23:59"]),
        (
            "CRON_TZ=Europe/Berlin 30 2 * * *",
            "2026-03-28T02:00",
            ["2026-03-29T01:30", "2026-03-30T00:30"],
        ),
        (
            "CRON_TZ=Europe/Berlin 30 2 * * *",
            "2026-10-24T12:00",
            ["2026-10-25T00:30", "2026-10-26T01:30"],
        ),
    ],
)
def test_when_it_occurs(cron: str, after: str, expected: list[str]) -> None:
    assert read(cron).coming(at(after), len(expected)) == [at(one) for one in expected]


@pytest.mark.parametrize(
    ("cron", "said"),
    [
        ("* * * *", "4 fields"),
        ("60 * * * *", "'60' is no minute"),
        ("* * * * 0", "from 1 to 7"),
        ("* * * * SAT-MON", "no range"),
        ("*/0 * * * *", "no range"),
        ("* * 31 FEB *", "never occurs"),
        ("* * * * MON#6", "first to the fifth"),
        ("a b c d e", "'a' is no minute"),
        ("CRON_TZ=Mars/Base 0 0 * * *", "no time zone"),
        ("* " * 200, "more than 200"),
        ("٣ * * * *", "no minute"),
    ],
)
def test_what_means_nothing(cron: str, said: str) -> None:
    with pytest.raises(CronError, match=said):
        read(cron)


@pytest.fixture
def script(alice: Tenant, node: Any) -> Tenant:
    del node
    alice.result("PUT", "workers/scripts/clock", **upload_parts())
    return alice


def put(tenant: Tenant, *crons: str) -> Any:
    return tenant.result("PUT", SCHEDULES, json=[{"cron": cron} for cron in crons])


def due(session: Session, moment: datetime) -> None:
    session.execute(update(CronTrigger).values(next_at=moment))


def runs(session: Session) -> list[CronRun]:
    query = select(CronRun).order_by(CronRun.scheduled_at)
    return list(session.scalars(query.execution_options(populate_existing=True)))


def test_schedules_are_replaced(script: Tenant, mallory: Tenant) -> None:
    put(script, "0 0 * * *", "*/5 * * * *")
    assert [one["cron"] for one in script.result("GET", SCHEDULES)["schedules"]] == [
        "0 0 * * *",
        "*/5 * * * *",
    ]
    status, code, message = script.refusal("PUT", SCHEDULES, json=[{"cron": "nonsense"}])
    assert (status, code) == (400, 10074)
    assert "Nothing was changed" in message
    twice = [{"cron": "* * * * *"}, {"cron": "* * * * *"}]
    assert script.refusal("PUT", SCHEDULES, json=twice)[:2] == (400, 10074)
    assert len(script.result("GET", SCHEDULES)["schedules"]) == 2
    assert mallory.refusal("GET", SCHEDULES)[:2] == (404, 10007)
    assert put(script)["schedules"] == []


def test_an_occurrence_is_one_run(script: Tenant, session: Session) -> None:
    put(script, "* * * * *")
    occurrence = now().replace(microsecond=0) - timedelta(seconds=1)
    due(session, occurrence)
    assert service.fire(session) == 1
    # Another scheduler that saw the same moment.
    due(session, occurrence)
    service.fire(session)
    assert [(run.scheduled_at, run.late) for run in runs(session)] == [(occurrence, False)]
    trigger = session.scalars(select(CronTrigger)).one()
    assert trigger.next_at is not None
    assert trigger.next_at > now()
    assert service.fire(session) == 0


def test_what_was_missed_runs_once_and_is_late(script: Tenant, session: Session) -> None:
    put(script, "* * * * *")
    due(session, now() - timedelta(hours=3))
    assert service.fire(session) == 1
    assert [run.late for run in runs(session)] == [True]


def test_the_life_of_a_run(script: Tenant, session: Session) -> None:
    put(script, "0 0 1 1 *")
    asked = script.result("POST", f"{SCHEDULES}/runs", json={"cron": "0 0 1 1 *"})
    assert (asked["manual"], asked["state"]) == (True, "queued")
    delivery = service.claim(session, asked["id"])
    assert delivery is not None
    assert [one.name for one in delivery.nodes] == ["edge-1"]
    assert service.claim(session, asked["id"]) is None
    service.put_back(session, asked["id"], "away")
    assert service.claim(session, asked["id"]) is not None
    service.taken(session, asked["id"], "edge-1")
    outcome = service.Outcome(asked["id"], "ok", 12, "", ["a line"])
    service.record(session, [outcome, outcome])
    session.commit()
    (shown,) = script.result("GET", f"{SCHEDULES}/runs")
    assert (shown["state"], shown["outcome"], shown["node"]) == ("finished", "ok", "edge-1")
    assert (shown["duration_ms"], shown["logs"], shown["late"]) == (12, ["a line"], False)
    assert script.refusal("POST", f"{SCHEDULES}/runs", json={"cron": "1 1 1 1 *"})[0] == 404


def test_a_run_of_which_nobody_speaks_is_not_sent_again(script: Tenant, session: Session) -> None:
    put(script, "0 0 1 1 *")
    asked = script.result("POST", f"{SCHEDULES}/runs", json={"cron": "0 0 1 1 *"})
    service.claim(session, asked["id"])
    service.taken(session, asked["id"], "edge-1")
    service.sweep(session)
    assert runs(session)[0].state == "running"
    session.execute(update(CronRun).values(due_at=now() - timedelta(seconds=1)))
    service.sweep(session)
    assert (runs(session)[0].state, runs(session)[0].outcome) == ("finished", "unknown")


def test_triggers_go_with_their_script(script: Tenant, session: Session) -> None:
    put(script, "* * * * *")
    script.result("POST", f"{SCHEDULES}/runs", json={"cron": "* * * * *"})
    script.result("DELETE", "workers/services/clock?force=true")
    assert (runs(session), session.scalars(select(CronTrigger)).all()) == ([], [])
