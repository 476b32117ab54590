"""Service bindings on a Worker's page, and deleting what others call."""

from collections.abc import Callable
from typing import Any

from starlette.testclient import TestClient


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
    assert "caller calls it through a service binding" in refused.text
    sure = ada.post("/workers/callee/delete", data={"typed_name": "callee", "called": "yes"})
    assert sure.status_code == 303
    assert "was deleted: calls throw" in ada.get("/workers/caller").text
