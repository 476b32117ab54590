"""Find: pages, actions, Workers and nodes by their names; the palette shows the same."""

import html
import re
from collections.abc import Callable

import pytest
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from api.nodes import service as nodes
from tests.certificates import request_certificate


def found(page: str) -> list[tuple[str, str]]:
    """Label and address of every place on the page."""
    links = re.findall(r'<a class="place" href="([^"]+)"><svg.*?</svg><span>(.*?)</span>', page)
    return [(html.unescape(label), html.unescape(href)) for href, label in links]


def test_without_a_search_everything_is_listed(
    ada: TestClient, make_script: Callable[..., None]
) -> None:
    make_script("shop", "blog")
    places = dict(found(ada.get("/find").text))
    assert places["Create Worker"] == "/workers/new"
    assert places["Nodes"] == "/nodes"
    assert places["shop"] == "/workers/shop"


def test_a_worker_is_found_by_a_part_of_its_name(
    ada: TestClient, make_script: Callable[..., None]
) -> None:
    make_script("stall", "stall-old", "blog", "new")
    assert [label for label, _ in found(ada.get("/find?search=stal").text)] == [
        "stall-old",
        "stall",
    ]
    exact = found(ada.get("/find?search=stall").text)
    assert exact[0] == ("stall", "/workers/stall")
    assert ("Settings of stall", "/workers/stall/settings") in exact
    assert ("stall-old", "/workers/stall-old") in exact
    assert ("new", "/workers/-new") in found(ada.get("/find?search=new").text)


def test_words_of_a_name_may_stand_apart(ada: TestClient, make_script: Callable[..., None]) -> None:
    make_script("my-shop")
    assert found(ada.get("/find?search=My shop").text)[0] == ("my-shop", "/workers/my-shop")


def test_templates_and_nodes_are_found(ada: TestClient, session: Session) -> None:
    token = nodes.issue_join_token(session)
    url = "https://10.0.0.7:8710"
    node = nodes.enrol(session, token, "harbour", url, request_certificate()).node
    session.commit()
    assert found(ada.get("/find?search=harb").text) == [("harbour", f"/nodes/{node.id}")]
    assert ("Create from Hono API", "/workers/new/hono-api") in found(
        ada.get("/find?search=hono").text
    )


@pytest.mark.parametrize("search", ["%", "_", "\\", "<script>", "\0", "x" * 500, "  "])
def test_any_text_may_be_searched(ada: TestClient, search: str) -> None:
    page = ada.get("/find", params={"search": search})
    assert page.status_code == 200
    assert "<script>" not in page.text.replace('<script src="', "").replace("<script type", "")


def test_the_palette_gets_options(ada: TestClient, make_script: Callable[..., None]) -> None:
    make_script("shop")
    page = ada.get("/find?search=shop", headers={"HX-Request": "true"}).text
    assert 'role="option" id="palette-1" data-href="/workers/shop" aria-selected="true"' in page
    assert "<html" not in page


def test_nothing_of_a_stranger_is_found(ada: TestClient, visitor: TestClient) -> None:
    ada.cookies.clear()
    assert visitor.get("/find").headers["location"] == "/login?next=/find"
