"""The page of alerts: a rule and a destination are added, tested, muted and deleted, errors beside fields."""

import re

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from api.alerts import notices, watching
from api.alerts.models import Destination, Rule
from api.db import transaction

RULE = {"name": "Disk", "kind": "disk", "threshold": "0.001", "window_minutes": "5"}
HOOK = {
    "destination_name": "Pager",
    "destination_kind": "webhook",
    "address": "http://10.0.0.9/hook",
}


def test_from_a_rule_to_its_end(ada: TestClient, session: Session) -> None:
    assert "Nothing is watched yet" in ada.get("/alerts").text
    created = ada.post("/alerts/destinations", data=HOOK).text
    (secret,) = set(re.findall(r"skw_[\w-]+", created))
    assert secret not in ada.get("/alerts").text
    assert ada.post("/alerts/rules", data=RULE).headers["location"] == "/alerts"
    rule = session.scalars(select(Rule)).one()
    pager = session.scalars(select(Destination)).one()
    with transaction() as other:
        assert watching.evaluate(other) == 1
    page = ada.get("/alerts").text
    assert "The disk of control plane is" in page
    assert "Of a disk is in use, at least 0.001 %" in page
    assert "Waiting" in page

    with transaction() as other:
        (delivery_id,) = notices.due(other)
        assert notices.claim(other, delivery_id)
        notices.failed(other, delivery_id, "It answered <500>.")
    assert "It answered &lt;500&gt;." in ada.get("/alerts").text

    ada.post(f"/alerts/rules/{rule.id}/mute")
    assert "muted until" in ada.get("/alerts").text
    ada.post(f"/alerts/rules/{rule.id}/unmute")
    assert "muted until" not in ada.get("/alerts").text
    ada.post(f"/alerts/destinations/{pager.id}/test")
    assert "A test is on its way to Pager" in ada.get("/alerts").text
    ada.post(f"/alerts/destinations/{pager.id}/delete")
    ada.post(f"/alerts/rules/{rule.id}/delete")
    end = ada.get("/alerts").text
    assert "Nothing is watched yet" in end
    assert "Nobody is told yet" in end


@pytest.mark.parametrize(
    ("path", "form", "field", "said"),
    [
        ("rules", RULE | {"name": ""}, "name", "Give it a name"),
        ("rules", RULE | {"kind": "moon"}, "kind", "Choose what to watch"),
        ("rules", RULE | {"threshold": "many"}, "threshold", "Enter a number"),
        ("rules", RULE | {"threshold": "nan"}, "threshold", "more than 0 and at most 100"),
        ("rules", RULE | {"threshold": "101"}, "threshold", "more than 0 and at most 100"),
        ("rules", RULE | {"kind": "p95", "script": "none"}, "script", "does not exist"),
        ("rules", RULE | {"kind": "queue_age", "queue": "none"}, "queue", "does not exist"),
        ("destinations", HOOK | {"address": "ftp://x"}, "address", "looks like https://"),
        ("destinations", HOOK | {"destination_name": ""}, "destination_name", "Give it a name"),
    ],
)
def test_what_is_refused_stands_beside_its_field(
    ada: TestClient, path: str, form: dict[str, str], field: str, said: str
) -> None:
    answer = ada.post(f"/alerts/{path}", data=form)
    assert answer.status_code == 422
    (message,) = re.findall(rf'id="{field}-error">(.*?)</p>', answer.text, re.S)
    assert said in message
    for value in form.values():
        assert value in answer.text
