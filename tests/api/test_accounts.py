"""Who: set-up, login, tokens, and what a stranger gets."""

import pytest
from sqlalchemy.orm import Session

from api.accounts import service as accounts
from api.accounts.models import Account
from api.errors import BodyInvalid, NotAllowed, NotAuthenticated, NotFound, TooManyAttempts
from tests.cast import Tenant, upload_parts

PASSWORD = "correct horse battery"


@pytest.fixture
def account(session: Session) -> Account:
    return accounts.bootstrap(session)


def test_bootstrap_makes_one_account(session: Session) -> None:
    assert accounts.bootstrap(session).id == accounts.bootstrap(session).id


def test_the_set_up_token_makes_one_administrator(session: Session, account: Account) -> None:
    token = accounts.issue_setup_token(session, account)
    assert accounts.check_setup_token(session, token)
    assert not accounts.check_setup_token(session, "sks_wrong")
    member = accounts.create_administrator(session, token, "a@example.org", PASSWORD)
    assert member.role == "administrator"
    assert not accounts.setup_pending(session)
    with pytest.raises(NotAllowed):
        accounts.create_administrator(session, token, "b@example.org", PASSWORD)


def test_a_new_set_up_token_voids_the_one_before(session: Session, account: Account) -> None:
    first = accounts.issue_setup_token(session, account)
    session.flush()
    second = accounts.issue_setup_token(session, account)
    session.flush()
    assert not accounts.check_setup_token(session, first)
    assert accounts.check_setup_token(session, second)


@pytest.mark.parametrize(
    ("email", "password"), [("nobody", PASSWORD), ("a b@c", PASSWORD), ("a@example.org", "short")]
)
def test_bad_input_makes_no_administrator_and_keeps_the_token(
    session: Session, account: Account, email: str, password: str
) -> None:
    token = accounts.issue_setup_token(session, account)
    with pytest.raises(BodyInvalid):
        accounts.create_administrator(session, token, email, password)
    assert accounts.check_setup_token(session, token)


def test_log_in_and_out(session: Session, account: Account) -> None:
    token = accounts.issue_setup_token(session, account)
    accounts.create_administrator(session, token, "A@example.org", PASSWORD)
    member, secret = accounts.log_in(session, "a@EXAMPLE.org", PASSWORD)
    found = accounts.member_of_session(session, secret)
    assert found is not None
    assert found.id == member.id
    accounts.log_out(session, secret)
    assert accounts.member_of_session(session, secret) is None


def test_wrong_passwords_are_refused_and_counted(session: Session, account: Account) -> None:
    token = accounts.issue_setup_token(session, account)
    accounts.create_administrator(session, token, "a@example.org", PASSWORD)
    for address in ("a@example.org", "nobody@example.org"):
        with pytest.raises(NotAuthenticated):
            accounts.log_in(session, address, "wrong")
    for _ in range(accounts.FAILURES_ALLOWED):
        accounts.record_failure(session, "a@example.org")
    with pytest.raises(TooManyAttempts):
        accounts.log_in(session, "a@example.org", PASSWORD)


def test_an_unknown_address_is_checked_as_long_as_a_known_one() -> None:
    """The hash is written down, so it must not be left behind when the library's costs change."""
    assert not accounts._passwords.check_needs_rehash(accounts._NOBODY)


def test_a_token_says_who_it_is(alice: Tenant) -> None:
    assert alice.result("GET", "/user/tokens/verify")["status"] == "active"
    assert alice.result("GET", "/user")["email"] == "alice-token@alice.token"
    assert [entry["id"] for entry in alice.result("GET", "/accounts")] == [alice.id]
    assert alice.result("GET", "/accounts?page=2") == []
    assert alice.result("GET", "/memberships")[0]["account"]["id"] == alice.id


def test_subdomain_availability_is_answered_by_an_error(alice: Tenant, mallory: Tenant) -> None:
    assert alice.result("GET", "workers/subdomain") == {"subdomain": "alice"}
    assert alice.refusal("GET", "workers/subdomains/mallory")[1] == 10031
    assert alice.refusal("GET", "workers/subdomains/free-one")[1] == 10032


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "workers/scripts"),
        ("GET", "workers/services/my-app"),
        ("GET", "workers/scripts/my-app/versions"),
        ("DELETE", "workers/services/my-app"),
        ("GET", "skerry/nodes"),
    ],
)
def test_a_stranger_gets_the_answer_for_an_account_that_does_not_exist(
    alice: Tenant, mallory: Tenant, method: str, path: str
) -> None:
    alice.result("PUT", "workers/scripts/my-app", **upload_parts())
    strange = mallory.refusal(method, f"/accounts/{alice.id}/{path}")
    missing = mallory.refusal(method, f"/accounts/{'0' * 32}/{path}")
    assert strange == missing
    assert strange[:2] == (403, 10000)
    assert alice.result("GET", "workers/scripts")[0]["id"] == "my-app"


def test_without_a_good_token_nothing_is_answered(alice: Tenant) -> None:
    alice.token = "wrong"
    assert alice.refusal("GET", "/user/tokens/verify")[:2] == (401, 1000)
    assert alice.refusal("GET", "/user")[:2] == (401, 10000)
    answer = alice.client.get("/client/v4/user")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["errors"][0]["code"] == 10000


def test_products_that_are_missing_are_named(alice: Tenant) -> None:
    for path, words in [
        ("hyperdrive/configs", "Hyperdrive is not supported by Skerry yet"),
        ("vectorize/v2/indexes", "Vectorize is not supported by Skerry yet"),
        ("pages/projects", "Pages is not supported by Skerry yet"),
    ]:
        status, code, message = alice.refusal("POST", path, json={})
        assert (status, code) == (400, 10400)
        assert words in message


def test_a_request_has_an_id(alice: Tenant) -> None:
    first, second = (alice.call("GET", "/user").headers["request-id"] for _ in range(2))
    assert len(first) == 32
    assert first != second


def test_a_reset_password_logs_out_and_lets_in_at_once(session: Session, account: Account) -> None:
    token = accounts.issue_setup_token(session, account)
    accounts.create_administrator(session, token, "Ada@example.org", PASSWORD)
    _, browser = accounts.log_in(session, "ada@example.org", PASSWORD)
    for _ in range(accounts.FAILURES_ALLOWED):
        accounts.record_failure(session, "ada@example.org")
    member = accounts.reset_password(session, "ada@EXAMPLE.org", "another long password")
    assert member.email == "Ada@example.org"
    assert accounts.member_of_session(session, browser) is None
    assert accounts.log_in(session, "ada@example.org", "another long password")[0] is member
    with pytest.raises(NotAuthenticated):
        accounts.log_in(session, "ada@example.org", PASSWORD)


def test_a_password_that_cannot_be_reset(session: Session, account: Account) -> None:
    with pytest.raises(NotFound, match=r"Nobody here has the address nobody@example\.org"):
        accounts.reset_password(session, "nobody@example.org", PASSWORD)
    with pytest.raises(BodyInvalid, match="at least 12 characters"):
        accounts.reset_password(session, "nobody@example.org", "short")
