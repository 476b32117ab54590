"""Alerts: rules fire and resolve once, webhooks and mailboxes hear of it, and a failed notice is tried again."""

import hashlib
import hmac
import json
import socketserver
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from sqlalchemy import Engine, delete, func, select, update
from sqlalchemy.orm import Session

from api.accounts.models import Account
from api.alerts import backlogs, notices, service, watching
from api.alerts.models import Alert, Delivery, Destination, Rule
from api.clock import now
from api.db import SessionFactory, transaction
from api.deployments import rollouts
from api.invocations import ingestion
from api.invocations.ingestion import COLUMNS, Batch
from api.invocations.models import rollups
from api.nodes.models import Node
from api.nodes.service import Enrolment
from api.scripts import service as scripts
from api.settings import settings
from tests.cast import Tenant
from worker import alerts


class Receiver:
    """A webhook's other end: answers with `status`, and keeps what came."""

    def __init__(self) -> None:
        self.status = 200
        self.came: list[tuple[dict[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.came.append((dict(self.headers), body))
                self.send_response(receiver.status)
                if receiver.status == 302:
                    self.send_header("Location", receiver.url + "elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def events(self) -> list[str]:
        return [json.loads(body)["event"] for _, body in self.came]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()


class Mailbox(socketserver.StreamRequestHandler):
    """As much of SMTP (RFC 5321) as one message takes."""

    came: list[tuple[list[str], str]]

    def handle(self) -> None:
        self.wfile.write(b"220 mailbox\r\n")
        envelope: list[str] = []
        while line := self.rfile.readline().decode().strip():
            word = line.split(" ")[0].upper()
            if word == "DATA":
                self.wfile.write(b"354 go on\r\n")
                lines = []
                while (text := self.rfile.readline()) != b".\r\n":
                    lines.append(text.decode())
                self.came.append((envelope, "".join(lines)))
                self.wfile.write(b"250 taken\r\n")
                continue
            envelope.append(line)
            self.wfile.write(b"221 bye\r\n" if word == "QUIT" else b"250 fine\r\n")
            if word == "QUIT":
                return


@pytest.fixture
def mailbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[list[str], str]]]:
    came: list[tuple[list[str], str]] = []
    handler = type("Handler", (Mailbox,), {"came": came})
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(settings(), "smtp_host", "127.0.0.1")
        monkeypatch.setattr(settings(), "smtp_port", server.server_address[1])
        monkeypatch.setattr(settings(), "smtp_tls", "none")
        yield came
        server.shutdown()


@pytest.fixture
def shop(session: Session, alice: Tenant) -> str:
    script = scripts.lock_or_create(session, alice.id, "shop")
    session.commit()
    return script.id


def _requests(session: Session, node_id: str, script_id: str, outcomes: dict[str, int]) -> None:
    """Requests of 200 ms, a moment ago."""
    values: dict[str, Any] = {
        "at_us": int(now().timestamp() * 1e6),
        "ray": "r",
        "script_id": script_id,
        "account_id": "a",
        "version_id": "v",
        "host": "h",
        "method": "GET",
        "path": "/",
        "status": 200,
        "duration_us": 200_000,
        "bytes_in": 1,
        "bytes_out": 1,
        "cold": False,
    }
    requests = [
        tuple({**values, "outcome": outcome}[name] for name in COLUMNS)
        for outcome, count in outcomes.items()
        for _ in range(count)
    ]
    batch = Batch.model_validate({"columns": COLUMNS, "requests": requests})
    assert ingestion.take(session, node_id, str(uuid.uuid4()), batch)
    session.commit()


def _rule(alice: Tenant, **changes: Any) -> str:
    body = {"name": "errors", "kind": "error_rate", "threshold": 10, **changes}
    return str(alice.result("POST", "skerry/alerts/rules", json=body)["id"])


def _webhook(alice: Tenant, url: str) -> dict[str, Any]:
    body = {"name": "pager", "kind": "webhook", "address": url}
    found: dict[str, Any] = alice.result("POST", "skerry/alerts/destinations", json=body)
    return found


def _turn() -> None:
    """What beat and a worker do: compare, then send what waits."""
    alerts.evaluate()
    with transaction() as session:
        waiting = notices.due(session)
    for delivery_id in waiting:
        alerts.deliver(delivery_id)


def _history(alice: Tenant) -> list[tuple[str, str]]:
    return [
        (one["subject"], one["state"]) for one in alice.result("GET", "skerry/alerts?per_page=50")
    ]


def test_an_error_rate_fires_and_is_resolved_once_each(
    session: Session, alice: Tenant, node: Enrolment, shop: str, receiver: Receiver
) -> None:
    secret = _webhook(alice, receiver.url)["secret"]
    _rule(alice)
    _requests(session, node.node.id, shop, {"ok": 40, "exception": 4})
    _turn()
    assert receiver.came == []  # 9 % is below 10 %
    _requests(session, node.node.id, shop, {"exception": 3})
    for _ in range(3):
        _turn()
    assert receiver.events() == ["firing"]
    assert _history(alice) == [("shop", "firing")]

    headers, body = receiver.came[0]
    signed = f"{headers['Skerry-Timestamp']}.".encode() + body
    expected = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    assert headers["Skerry-Signature"] == f"v1={expected}"
    assert abs(int(headers["Skerry-Timestamp"]) - time.time()) < 60
    said = json.loads(body)
    assert said["id"] == headers["Skerry-Delivery"]
    assert said["text"].startswith("Firing: errors. 7 of 47 requests of shop failed (14.9 %)")
    assert said["alert"]["subject"] == "shop"

    session.execute(delete(rollups))  # their minutes are over
    session.commit()
    for _ in range(3):
        _turn()
    assert receiver.events() == ["firing", "resolved"]
    assert _history(alice) == [("shop", "resolved")]
    states = {one["state"] for one in alice.result("GET", "skerry/alerts/deliveries")}
    assert states == {"delivered"}


def test_what_else_is_watched(
    session: Session, alice: Tenant, node: Enrolment, shop: str, broker: object
) -> None:
    for kind, threshold in {
        "p95": 150,
        "node_silent": 3,
        "rollout_stuck": 5,
        "certificate": 14,
        "disk": 90,
    }.items():
        _rule(alice, name=kind, kind=kind, threshold=threshold)
    _turn()
    calm = {subject for subject, _ in _history(alice)} - {"control plane"}
    assert calm == set()

    _requests(session, node.node.id, shop, {"ok": 20})
    ends_at = (now() + timedelta(days=3)).isoformat()
    found = session.get_one(Node, node.node.id)
    found.seen_at = now() - timedelta(minutes=4)
    found.condition = {
        "disk_total_bytes": 100,
        "disk_free_bytes": 4,
        "certificates": [{"name": "front", "ends_at": ends_at}],
    }
    script = scripts.get(session, alice.id, "shop")
    (rollout,) = rollouts.roll_out(session, script, None)
    rollout.created_at = now() - timedelta(minutes=6)
    session.commit()
    _turn()
    fired = {
        one["rule"]: (one["subject"], one["summary"])
        for one in alice.result("GET", "skerry/alerts?per_page=50")
        if one["subject"] != "control plane"
    }
    assert {kind: subject for kind, (subject, _) in fired.items()} == {
        "p95": "shop",
        "node_silent": "edge-1",
        "rollout_stuck": "edge-1",
        "certificate": "edge-1, front",
        "disk": "edge-1",
    }
    assert "has not reported for 4.0 min" in fired["node_silent"][1]
    assert "96 % full" in fired["disk"][1]
    assert "in 3.0 days" in fired["certificate"][1]
    assert "1 changes wait" in fired["rollout_stuck"][1]

    found.seen_at = now()
    found.condition = {**found.condition, "disk_free_bytes": 50}
    session.commit()
    _turn()
    states = {
        one["rule"]: one["state"]
        for one in alice.result("GET", "skerry/alerts?per_page=50")
        if one["subject"] != "control plane"
    }
    assert states["node_silent"] == states["disk"] == "resolved"
    assert states["p95"] == states["rollout_stuck"] == "firing"


def test_a_muted_rule_tells_nobody_until_it_is_over(
    session: Session, alice: Tenant, node: Enrolment, shop: str, receiver: Receiver
) -> None:
    _webhook(alice, receiver.url)
    rule_id = _rule(alice)
    until = (now() + timedelta(hours=1)).isoformat()
    muted = alice.result("PUT", f"skerry/alerts/rules/{rule_id}/mute", json={"until": until})
    assert muted["muted_until"].startswith(until[:16])
    for beyond in (
        "9999-12-31T23:59:59-14:00",
        "0001-01-01T00:00:00+14:00",
        "2101-01-01T00:00:00Z",
    ):
        path = f"skerry/alerts/rules/{rule_id}/mute"
        assert alice.refusal("PUT", path, json={"until": beyond})[0] == 422
    _requests(session, node.node.id, shop, {"exception": 20})
    _turn()
    assert _history(alice) == [("shop", "firing")]
    assert receiver.came == []
    alice.result("PUT", f"skerry/alerts/rules/{rule_id}/mute", json={"until": None})
    _turn()
    assert receiver.events() == ["firing"]
    # Muted again: whoever was told that it fires is told that it is over.
    alice.result("PUT", f"skerry/alerts/rules/{rule_id}/mute", json={"until": until})
    session.execute(delete(rollups))
    session.commit()
    _turn()
    assert receiver.events() == ["firing", "resolved"]


def test_a_notice_is_tried_again_and_given_up(
    session: Session, alice: Tenant, receiver: Receiver
) -> None:
    pager = _webhook(alice, receiver.url)["id"]
    receiver.status = 500
    sent = alice.result("POST", f"skerry/alerts/destinations/{pager}/tests")
    alerts.deliver(sent["id"])
    alerts.deliver(sent["id"])  # too early, so nothing happens
    assert len(receiver.came) == 1
    (shown,) = alice.result("GET", "skerry/alerts/deliveries")
    assert (shown["state"], shown["attempts"], shown["reason"]) == (
        "queued",
        1,
        "It answered 500.",
    )
    pauses = []
    for _ in range(notices.ATTEMPTS_MAX - 1):
        due_at = session.scalar(select(Delivery.due_at).where(Delivery.id == sent["id"]))
        assert due_at
        pauses.append(round((due_at - now()).total_seconds()))
        session.execute(update(Delivery).values(due_at=now()))
        session.commit()
        _turn()
    assert len(receiver.came) == notices.ATTEMPTS_MAX
    assert pauses == pytest.approx([10, 30, 90, 270, 810], abs=5)
    (shown,) = alice.result("GET", "skerry/alerts/deliveries")
    assert (shown["state"], shown["attempts"]) == ("failed", notices.ATTEMPTS_MAX)
    assert {json.loads(body)["id"] for _, body in receiver.came} == {sent["id"]}

    receiver.status = 302  # a redirect is no success, and not followed
    again = alice.result("POST", f"skerry/alerts/destinations/{pager}/tests")
    alerts.deliver(again["id"])
    assert len(receiver.came) == notices.ATTEMPTS_MAX + 1
    receiver.status = 204
    session.execute(update(Delivery).where(Delivery.id == again["id"]).values(due_at=now()))
    session.commit()
    _turn()
    newest = alice.result("GET", "skerry/alerts/deliveries")[0]
    assert (newest["event"], newest["state"], newest["attempts"]) == ("test", "delivered", 2)


def test_a_worker_that_died_while_it_sent(
    session: Session, alice: Tenant, receiver: Receiver
) -> None:
    sent = alice.result(
        "POST", f"skerry/alerts/destinations/{_webhook(alice, receiver.url)['id']}/tests"
    )
    with transaction() as other:
        assert notices.claim(other, sent["id"])
    _turn()
    assert receiver.came == []  # somebody else sends it
    session.execute(update(Delivery).values(due_at=now() - timedelta(seconds=1)))
    session.commit()
    _turn()
    assert receiver.events() == ["test"]


def test_mail(alice: Tenant, mailbox: list[tuple[list[str], str]]) -> None:
    body = {"name": "ops", "kind": "mail", "address": "ops@example.org"}
    made = alice.result("POST", "skerry/alerts/destinations", json=body)
    assert made["secret"] == ""
    alerts.deliver(alice.result("POST", f"skerry/alerts/destinations/{made['id']}/tests")["id"])
    ((envelope, text),) = mailbox
    assert any("ops@example.org" in line for line in envelope if line.startswith("rcpt"))
    assert "Subject: [Skerry] This is a test of the destination ops" in text
    assert "Nothing is wrong." in text
    (shown,) = alice.result("GET", "skerry/alerts/deliveries")
    assert shown["state"] == "delivered"


def test_without_a_mail_server_the_notice_says_so(alice: Tenant) -> None:
    body = {"name": "ops", "kind": "mail", "address": "ops@example.org"}
    made = alice.result("POST", "skerry/alerts/destinations", json=body)
    alerts.deliver(alice.result("POST", f"skerry/alerts/destinations/{made['id']}/tests")["id"])
    (shown,) = alice.result("GET", "skerry/alerts/deliveries")
    assert "SKERRY_SMTP_HOST" in shown["reason"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("rules", {"name": "", "kind": "disk", "threshold": 5}),
        ("rules", {"name": "x", "kind": "moon", "threshold": 5}),
        ("rules", {"name": "x", "kind": "disk", "threshold": 101}),
        ("rules", {"name": "x", "kind": "disk", "threshold": 0}),
        ("rules", {"name": "x", "kind": "p95", "threshold": 5, "window_minutes": 0}),
        ("rules", {"name": "x", "kind": "disk", "threshold": 5, "script": "shop"}),
        ("rules", {"name": "x", "kind": "disk", "threshold": 5, "queue": "jobs"}),
        ("destinations", {"name": "x", "kind": "pigeon", "address": "roof"}),
        ("destinations", {"name": "x", "kind": "webhook", "address": "ftp://example.org"}),
        ("destinations", {"name": "x", "kind": "webhook", "address": "http://[bad"}),
        ("destinations", {"name": "x", "kind": "mail", "address": "nobody"}),
    ],
)
def test_what_is_refused(alice: Tenant, shop: str, path: str, body: dict[str, Any]) -> None:
    status, _, message = alice.refusal("POST", f"skerry/alerts/{path}", json=body)
    assert status == 422
    assert message
    assert alice.result("GET", f"skerry/alerts/{path}") == []


def test_a_rule_about_a_queue(alice: Tenant, mallory: Tenant, session: Session) -> None:
    """What is in a queue, only its store knows: tests/wrangler/test_queues.py."""
    alice.result("POST", "queues", json={"queue_name": "jobs"})
    about = {"kind": "queue_backlog", "threshold": 3, "queue": "jobs"}
    _rule(alice, **about)
    theirs = {"name": "x", **about}
    assert mallory.refusal("POST", "skerry/alerts/rules", json=theirs)[:2] == (404, 11000)
    assert backlogs.watched(session) == {}  # its store has not heard of it


def test_strangers(alice: Tenant, mallory: Tenant, receiver: Receiver) -> None:
    rule_id, pager = _rule(alice), _webhook(alice, receiver.url)["id"]
    for method, path in (
        ("DELETE", f"rules/{rule_id}"),
        ("DELETE", f"destinations/{pager}"),
        ("POST", f"destinations/{pager}/tests"),
    ):
        assert mallory.refusal(method, f"skerry/alerts/{path}")[0] == 404
    theirs = {"name": "x", "kind": "disk", "threshold": 5, "destination_id": pager}
    assert mallory.refusal("POST", "skerry/alerts/rules", json=theirs)[0] == 404
    assert mallory.result("GET", "skerry/alerts/rules") == []
    alice.result("DELETE", f"skerry/alerts/rules/{rule_id}")
    alice.result("DELETE", f"skerry/alerts/destinations/{pager}")
    assert alice.result("GET", "skerry/alerts/destinations") == []


def test_many_schedulers_fire_once(committed: Engine) -> None:
    """In a database that really commits, by threads that all look at once."""
    SessionFactory.configure(bind=committed)
    try:
        with transaction() as session:
            account = _account(session)
            for number in range(3):
                service.add_destination(
                    session, account, name=f"d{number}", kind="mail", address="a@example.org"
                )
            # Full enough everywhere.
            service.add_rule(session, account, name="disk", kind="disk", threshold=0.001)

        def look(_: int) -> int:
            with transaction() as session:
                return watching.evaluate(session)

        with ThreadPoolExecutor(8) as pool:
            changes = sum(pool.map(look, range(24)))
        with transaction() as session:
            fired = session.scalar(select(func.count()).select_from(Alert))
            told = session.scalar(select(func.count()).select_from(Delivery))
        assert (changes, fired, told) == (1, 1, 3)
    finally:
        with transaction() as session:
            for table in (Delivery, Alert, Rule, Destination):
                session.execute(delete(table))
        SessionFactory.configure(bind=None)


def _account(session: Session) -> str:
    account = Account(name=uuid.uuid4().hex, subdomain=uuid.uuid4().hex)
    session.add(account)
    session.flush()
    return account.id
