import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from api.accounts.models import Member
from tests.dashboard.conftest import PASSWORD


def test_a_good_link_shows_the_form(visitor: TestClient, setup_token: str) -> None:
    page = visitor.get("/setup", params={"token": setup_token})

    assert page.status_code == 200
    assert "Set up Skerry" in page.text
    assert setup_token in page.text


@pytest.mark.parametrize("query", ["", "?token=", "?token=wrong", "?token=%00"])
def test_a_wrong_link_says_how_to_get_a_good_one(
    visitor: TestClient, setup_token: str, query: str
) -> None:
    page = visitor.get(f"/setup{query}")

    assert page.status_code == 403
    assert "This set-up link does not work" in page.text
    assert "./skerry up" in page.text


def test_setting_up_makes_the_administrator_and_logs_in(
    visitor: TestClient, setup_token: str, session: Session
) -> None:
    form = {"token": setup_token, "email": "ada@example.org", "password": PASSWORD}
    answer = visitor.post("/setup", data=form)

    assert (answer.status_code, answer.headers["location"]) == (303, "/workers")
    cookie = next(c for c in answer.headers.get_list("set-cookie") if "session" in c)
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    member = session.scalars(select(Member)).one()
    assert member.email == "ada@example.org"
    assert "ada@example.org" in visitor.get("/workers").text


def test_a_link_works_once(ada: TestClient, setup_token: str) -> None:
    for page in (
        ada.get("/setup", params={"token": setup_token}),
        ada.post(
            "/setup",
            data={"token": setup_token, "email": "eve@example.org", "password": PASSWORD},
        ),
    ):
        assert page.status_code == 403
        assert "Skerry is set up already" in page.text
        assert 'href="/login"' in page.text


@pytest.mark.parametrize(
    ("email", "password", "field", "message"),
    [
        ("", PASSWORD, "email", "Enter your e-mail address."),
        ("nobody", PASSWORD, "email", "Enter an e-mail address such as you@example.org."),
        ("a\0@example.org", PASSWORD, "email", "ordinary characters"),
        ("ada@example.org", "", "password", "Choose a password."),
        ("ada@example.org", "too short", "password", "Use at least 12 characters."),
        ("ada@example.org", "x" * 1001, "password", "Use at most 1,000 ordinary characters."),
    ],
)
def test_a_refused_form_says_why_beside_the_field(
    visitor: TestClient, setup_token: str, email: str, password: str, field: str, message: str
) -> None:
    page = visitor.post("/setup", data={"token": setup_token, "email": email, "password": password})

    assert page.status_code == 422
    assert message in page.text
    assert f'id="{field}-error"' in page.text
    assert 'aria-invalid="true"' in page.text


def test_what_was_typed_stays_but_not_the_password(visitor: TestClient, setup_token: str) -> None:
    form = {"token": setup_token, "email": "ada@example.org", "password": "too short"}
    page = visitor.post("/setup", data=form)

    assert 'value="ada@example.org"' in page.text
    assert "too short" not in page.text
    assert setup_token in page.text
