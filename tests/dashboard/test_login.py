import html
import re
import time
from datetime import timedelta
from urllib.parse import quote

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from api.accounts.models import LogInFailure, LogInSession
from api.clock import now
from dashboard import kept as kept_forms
from tests.dashboard.conftest import PASSWORD

GOOD = {"email": "Ada@Example.org", "password": PASSWORD}


@pytest.fixture
def ada_elsewhere(ada: TestClient) -> TestClient:
    """Ada's installation, seen from a browser that is not logged in."""
    ada.cookies.clear()
    return ada


def test_logging_in(ada_elsewhere: TestClient) -> None:
    answer = ada_elsewhere.post("/login", data=GOOD)

    assert (answer.status_code, answer.headers["location"]) == (303, "/workers")
    assert ada_elsewhere.get("/workers").status_code == 200


@pytest.mark.parametrize("email", ["ada@example.org", "nobody@example.org"])
def test_a_wrong_password_and_an_unknown_address_look_the_same(
    ada_elsewhere: TestClient, session: Session, email: str
) -> None:
    page = ada_elsewhere.post("/login", data={"email": email, "password": "not this one"})

    assert page.status_code == 422
    assert "E-mail or password is not right." in page.text
    assert f'value="{email}"' in page.text
    assert "not this one" not in page.text
    assert session.scalars(select(LogInFailure.email)).all() == [email]


def test_guessing_is_stopped(ada_elsewhere: TestClient) -> None:
    for _ in range(10):
        ada_elsewhere.post("/login", data={**GOOD, "password": "a guess"})
    page = ada_elsewhere.post("/login", data=GOOD)

    assert page.status_code == 429
    assert "Too many attempts. Wait fifteen minutes, then try again." in page.text
    assert page.headers["retry-after"]


def test_empty_fields_are_named(ada_elsewhere: TestClient) -> None:
    page = ada_elsewhere.post("/login", data={"email": "", "password": ""})

    assert page.status_code == 422
    assert "Enter your e-mail address." in page.text
    assert "Enter your password." in page.text


def test_every_page_asks_for_a_login_and_leads_back(ada_elsewhere: TestClient) -> None:
    answer = ada_elsewhere.get("/workers?search=shop&page=2")
    assert answer.status_code == 303
    login = answer.headers["location"]
    assert login == "/login?next=/workers%3Fsearch%3Dshop%26page%3D2"

    assert "/workers?search=shop&amp;page=2" in ada_elsewhere.get(login).text
    after = ada_elsewhere.post("/login", data={**GOOD, "next": "/workers?search=shop&page=2"})
    assert after.headers["location"] == "/workers?search=shop&page=2"


@pytest.fixture
def expired(ada: TestClient, session: Session) -> TestClient:
    """Ada's browser, whose session has ended while a page was open."""
    ada.get("/workers/new/hello-world")
    session.execute(update(LogInSession).values(expires_at=now() - timedelta(seconds=1)))
    session.commit()
    return ada


FORM = "/workers/new/hello-world"


def _kept(page: str) -> str:
    found = re.search(r'name="kept" value="([^"]+)"', page)
    assert found is not None
    return html.unescape(found[1])


def test_a_form_outlives_its_session(expired: TestClient) -> None:
    came_from = {"referer": f"http://testserver{FORM}"}
    page = expired.post(FORM, data={"name": "mine"}, headers=came_from)
    assert page.status_code == 401
    assert "Your session has ended" in page.text
    assert f'name="next" value="{FORM}"' in page.text

    form = {"email": "ada@example.org", "kept": _kept(page.text), "next": FORM}
    refused = expired.post("/login", data={**form, "password": "wrong"})
    assert refused.status_code == 422
    kept = _kept(refused.text)
    back = expired.post("/login", data={**form, "kept": kept, "password": PASSWORD})
    assert back.status_code == 200
    assert "was not sent" in back.text
    assert f'href="{FORM}">Go back without it' in back.text
    # Nothing happens until the person says so.
    assert expired.get("/workers/mine").status_code == 404
    made = expired.post("/resend", data={"kept": _kept(back.text)})
    assert made.headers["location"] == "/workers/mine?created=hello-world"


def test_what_is_kept_lasts_an_hour(expired: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = _kept(expired.post(FORM, data={"name": "mine"}).text)
    later = time.time() + kept_forms.LIFETIME_SECONDS + 1
    monkeypatch.setattr(kept_forms.time, "time", lambda: later)
    form = {"email": "ada@example.org", "password": PASSWORD, "kept": kept, "next": FORM}
    assert expired.post("/login", data=form).headers["location"] == FORM
    assert expired.post("/resend", data={"kept": kept}).status_code == 400


def test_another_site_sends_no_kept_form(expired: TestClient) -> None:
    kept = _kept(expired.post(FORM, data={"name": "mine"}).text)
    expired.post("/login", data={"email": "ada@example.org", "password": PASSWORD})
    elsewhere = {"sec-fetch-site": "cross-site"}
    assert expired.post("/resend", data={"kept": kept}, headers=elsewhere).status_code == 403
    assert expired.get("/workers/mine").status_code == 404


def test_what_a_page_cannot_hold_leads_back_to_the_form(expired: TestClient) -> None:
    came_from = {"referer": f"http://testserver{FORM}"}
    large = {"name": "x" * kept_forms.SIZE_MAX_BYTES}
    answer = expired.post(FORM, data=large, headers=came_from)
    assert answer.status_code == 303
    assert answer.headers["location"] == f"/login?next={FORM}"


def test_a_form_that_htmx_sent_stays_on_its_page(expired: TestClient) -> None:
    answer = expired.post(FORM, data={"name": "mine"}, headers={"HX-Request": "true"})
    assert answer.status_code == 401
    assert "hx-redirect" not in answer.headers


def test_a_fragment_moves_the_whole_page_to_the_login(ada_elsewhere: TestClient) -> None:
    answer = ada_elsewhere.get(
        "/workers?search=a",
        headers={"HX-Request": "true", "HX-Current-URL": "http://testserver/workers/shop"},
    )
    assert answer.status_code == 401
    assert answer.headers["hx-redirect"] == "/login?next=/workers/shop"


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example/",
        "/\t/evil.example/",
        "javascript:alert(1)",
        "evil",
        "",
    ],
)
def test_a_login_never_leads_to_another_site(ada_elsewhere: TestClient, elsewhere: str) -> None:
    answer = ada_elsewhere.post("/login", data={**GOOD, "next": elsewhere})
    assert answer.headers["location"] == "/workers"

    already = ada_elsewhere.get(f"/login?next={quote(elsewhere)}")
    assert already.headers["location"] == "/workers"


def test_logging_out_ends_the_session_on_the_server(ada: TestClient, session: Session) -> None:
    kept = dict(ada.cookies)
    answer = ada.post("/logout")

    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert session.scalars(select(LogInSession)).all() == []
    ada.cookies.update(kept)
    assert ada.get("/workers").headers["location"] == "/login"


def test_before_the_set_up_the_login_page_says_so(visitor: TestClient, setup_token: str) -> None:
    page = visitor.get("/login")

    assert "Skerry is not set up yet" in page.text
    assert setup_token not in page.text
