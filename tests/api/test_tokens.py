"""API tokens: made, used, listed, revoked."""

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from api.accounts import tokens
from api.accounts.models import Token
from api.admin import bootstrap
from api.clock import now
from tests.cast import Tenant


def _named(alice: Tenant, name: str) -> dict[str, str | None]:
    (found,) = [token for token in alice.result("GET", "tokens") if token["name"] == name]
    return found  # type: ignore[no-any-return]


def test_a_new_token_works_and_its_secret_is_shown_once(alice: Tenant) -> None:
    made = alice.result("POST", "tokens", json={"name": " ci "})
    assert made["name"] == "ci"
    assert made["last_four"] == made["value"][-4:]

    listed = alice.call("GET", "tokens")
    assert made["value"] not in listed.text
    assert [token["name"] for token in listed.json()["result"]] == ["alice-token", "ci"]
    ci = Tenant(alice.id, "alice", made["value"], alice.client)
    assert ci.result("GET", "/user")["email"] == "ci@alice.token"


def test_a_revoked_token_is_refused_and_gone_from_the_list(alice: Tenant) -> None:
    made = alice.result("POST", "tokens", json={"name": "ci"})
    assert alice.result("DELETE", f"tokens/{made['id']}") == {"id": made["id"]}

    ci = Tenant(alice.id, "alice", made["value"], alice.client)
    assert ci.refusal("GET", "workers/scripts")[:2] == (401, 10000)
    assert [token["name"] for token in alice.result("GET", "tokens")] == ["alice-token"]
    assert alice.refusal("DELETE", f"tokens/{made['id']}")[:2] == (404, 10226)


def test_a_strangers_token_is_neither_seen_nor_revoked(alice: Tenant, mallory: Tenant) -> None:
    token = _named(alice, "alice-token")
    assert [found["name"] for found in mallory.result("GET", "tokens")] == ["mallory-token"]
    assert mallory.refusal("DELETE", f"tokens/{token['id']}")[:2] == (404, 10226)
    assert alice.call("GET", "workers/scripts").status_code == 200


def test_when_a_token_was_last_used(alice: Tenant, session: Session) -> None:
    made = alice.result("POST", "tokens", json={"name": "ci"})
    assert _named(alice, "ci")["last_used_on"] is None
    ci = Tenant(alice.id, "alice", made["value"], alice.client)
    ci.result("GET", "workers/scripts")
    first = _named(alice, "ci")["last_used_on"]
    assert first is not None

    # Not written again for each request, but after a while.
    ci.result("GET", "workers/scripts")
    assert _named(alice, "ci")["last_used_on"] == first
    session.execute(update(Token).values(last_used_at=now() - timedelta(days=3)))
    session.commit()
    ci.result("GET", "workers/scripts")
    assert _named(alice, "ci")["last_used_on"] > first  # type: ignore[operator]


@pytest.mark.parametrize("name", ["", " ", "a" * 101, "a\nb"])
def test_a_name_that_will_not_do(alice: Tenant, name: str) -> None:
    assert alice.refusal("POST", "tokens", json={"name": name})[:2] == (422, 10004)
    assert len(alice.result("GET", "tokens")) == 1


def test_rights_that_a_token_cannot_have_are_refused(alice: Tenant) -> None:
    """A token with policies would do more than it was made for if they were ignored."""
    body = {"name": "ci", "policies": [{"effect": "allow"}]}
    assert alice.refusal("POST", "tokens", json=body)[:2] == (422, 10004)


def test_a_start_replaces_the_launchers_token_if_it_was_revoked(
    session: Session, tmp_path: Path
) -> None:
    file = tmp_path / "api-token"
    account_id = str(bootstrap(file)["account_id"])
    first = file.read_text()
    bootstrap(file)
    assert file.read_text() == first

    token = tokens.recognise(session, first.strip())
    assert token is not None
    assert token.name == tokens.OF_THE_LAUNCHER
    tokens.revoke(session, account_id, token.id)
    session.commit()
    bootstrap(file)
    assert tokens.recognise(session, first.strip()) is None
    assert tokens.recognise(session, file.read_text().strip()) is not None
