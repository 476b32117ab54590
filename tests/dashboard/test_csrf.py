"""Another site's form changes nothing."""

import re

import pytest
from starlette.testclient import TestClient

from dashboard.app import create_app

CHANGING = [
    "/logout",
    "/theme",
    "/workers/shop/delete",
    "/workers/new/hello-world",
    "/setup",
    "/login",
]


@pytest.fixture
def bare(ada: TestClient) -> TestClient:
    """Ada's browser, sending only the headers that a test adds."""
    client = TestClient(create_app(), follow_redirects=False)
    client.cookies.update(dict(ada.cookies))
    return client


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        # A Worker of ours on a host name beside the dashboard's is not to be trusted either.
        {"sec-fetch-site": "same-site"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://testserver:8080"},
        {},
    ],
)
def test_a_form_from_elsewhere_is_refused(bare: TestClient, headers: dict[str, str]) -> None:
    for path in CHANGING:
        page = bare.post(path, headers=headers, data={"csrf_token": "guessed"})

        assert page.status_code == 403, path
        assert "nothing was changed" in page.text
    assert bare.get("/workers").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none"},
        {"origin": "http://testserver"},
    ],
)
def test_a_form_of_ours_is_taken(bare: TestClient, headers: dict[str, str]) -> None:
    assert bare.post("/theme", headers=headers, data={"theme": "dark"}).status_code == 303


def test_a_client_that_says_nothing_needs_the_token(bare: TestClient) -> None:
    found = re.search(r'name="csrf_token" value="([^"]+)"', bare.get("/workers").text)
    assert found is not None

    answer = bare.post("/theme", data={"theme": "dark", "csrf_token": found.group(1)})
    assert answer.status_code == 303
