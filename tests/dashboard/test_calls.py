"""Bindings to other Workers on a Worker's page, and deleting what others call."""

from collections.abc import Callable
from typing import Any

from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from api.accounts.models import Account
from api.objects.models import ObjectNamespace
from api.scripts import service as scripts


def binding(service: str, **more: str) -> dict[str, Any]:
    return {"name": "NEXT", "type": "service", "service": service, **more}


def test_both_pages_name_each_other(ada: TestClient, deploy: Callable[..., str]) -> None:
    deploy("callee")
    deploy("caller", bindings=[binding("callee", entrypoint="Admin")])
    page = ada.get("/workers/caller").text
    assert '<a href="/workers/callee">callee</a>' in page
    assert "<code>Admin</code>" in page
    assert 'Called by <a href="/workers/caller">caller</a>.' in ada.get("/workers/callee").text


def test_deleting_what_others_call(ada: TestClient, deploy: Callable[..., str]) -> None:
    deploy("callee")
    before = ada.get("/workers/callee/delete").text
    assert "service binding" not in before
    deploy("caller", bindings=[binding("callee")])
    # The page that was open said nothing of it.
    refused = ada.post("/workers/callee/delete", data={"typed_name": "callee"})
    assert refused.status_code == 422
    assert "Another Worker calls it since this page was shown" in refused.text
    assert "caller calls it through a binding" in refused.text
    sure = ada.post("/workers/callee/delete", data={"typed_name": "callee", "called": "yes"})
    assert sure.status_code == 303
    assert "was deleted: calls throw" in ada.get("/workers/caller").text


def test_what_is_bound_of_another_worker(
    ada: TestClient, deploy: Callable[..., str], session: Session, account: Account
) -> None:
    deploy("owner")
    owner = scripts.get(session, account.id, "owner")
    session.add(ObjectNamespace(script_id=owner.id, class_name="Room", sqlite=True))
    session.commit()
    room = {"name": "ROOM", "type": "durable_object_namespace", "class_name": "Room"}
    deploy("caller", bindings=[{**room, "script_name": "owner"}])
    page = ada.get("/workers/caller").text
    assert '<a href="/workers/owner">owner</a>' in page
    assert "Durable Objects <code>Room</code>" in page
    assert 'Called by <a href="/workers/caller">caller</a>.' in ada.get("/workers/owner").text
