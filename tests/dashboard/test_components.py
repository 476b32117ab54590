"""The page of all components: there in development, and complete."""

import re

import pytest
from starlette.testclient import TestClient

from api.settings import settings
from dashboard.templating import HERE

COMPONENTS = HERE / "templates" / "components"
PAGE = HERE / "templates" / "development"


def test_it_is_there_in_development_only(ada: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ada.get("/_components").status_code == 404
    monkeypatch.setattr(settings(), "development", True)
    page = ada.get("/_components")
    assert page.status_code == 200
    assert "This is what is wrong with joined." in page.text
    ada.cookies.clear()
    assert ada.get("/_components").headers["location"] == "/login?next=/_components"


def test_every_component_is_on_it() -> None:
    defined = {
        name
        for path in COMPONENTS.glob("*.html")
        for name in re.findall(r"\{% macro ([a-z]\w*)\(", path.read_text())
    }
    used = "".join(path.read_text() for path in PAGE.glob("*.html"))
    assert len(defined) > 15
    assert {
        name for name in defined if not re.search(rf"\{{[{{%] ?(call )?{name}\(", used)
    } == set()
