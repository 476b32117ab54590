"""Certificates of a zone by clicking: uploaded, refused, replaced, deleted; a key is never shown again."""

import html
import re
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives import hashes
from sqlalchemy import select, update
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from api.accounts.models import Account
from api.clock import now
from api.zones import certificates, chains, service as zones
from api.zones.models import Certificate, Zone
from tests.certificates import Issued, authority, issue
from tests.dashboard.test_zones import action, text_of

CA = authority()
LEAF = issue("shop.example.com", by=CA)
OTHER_ID = "0" * 32
OWN = "HTTPS shows the nodes' own certificate"


@pytest.fixture
def zone(ada: TestClient) -> str:
    """The address of an active zone."""
    return str(ada.post("/zones", data={"name": "example.com"}).headers["location"])


def stored(session: Session) -> list[str]:
    """Fingerprints, the newest first."""
    session.expire_all()
    query = select(Certificate.fingerprint).order_by(Certificate.uploaded_at.desc())
    return list(session.scalars(query))


def upload(ada: TestClient, zone: str, issued: Issued) -> None:
    answer = ada.post(f"{zone}/certificates", data=issued.body)
    assert answer.status_code == 303, text_of(answer.text)
    assert answer.headers["location"] == zone


def edit(page: str) -> str:
    """The first link to a page that replaces."""
    match = re.search(r'href="(/zones/[^"]+/certificates/[0-9a-f]{32})"', page)
    assert match
    return match[1]


def test_a_certificate_from_its_upload_to_its_end(
    ada: TestClient, zone: str, session: Session
) -> None:
    assert "None yet: HTTPS of these names shows the nodes' own" in text_of(ada.get(zone).text)
    # As a browser sends several lines.
    sent = {name: text.replace("\n", "\r\n") for name, text in LEAF.body.items()}
    assert ada.post(f"{zone}/certificates", data=sent).headers["location"] == zone
    page = text_of(ada.get(zone).text)
    assert "is taken. Every node shows it within seconds for shop.example.com." in page
    until = f"{LEAF.certificate.not_valid_after_utc:%-d %b %Y}"
    assert f"shop.example.com Intermediate {until} Valid Replace… Delete" in page

    address = edit(ada.get(zone).text)
    shown = text_of(ada.get(address).text)
    assert LEAF.certificate.fingerprint(hashes.SHA256()).hex() in shown
    new = issue("shop.example.com", "www.example.com", by=CA)
    assert ada.post(address, data=new.body).headers["location"] == zone
    assert stored(session) == [new.certificate.fingerprint(hashes.SHA256()).hex()]
    assert "shop.example.com, www.example.com" in text_of(ada.get(zone).text)
    assert "1 certificate with its key" in text_of(ada.get(f"{zone}/delete").text)
    label = "Delete the certificate of shop.example.com"
    assert ada.post(action(ada.get(zone).text, label)).status_code == 303
    assert stored(session) == []
    assert ada.get(address).status_code == 404
    assert ada.post(address, data=new.body).status_code == 404


@pytest.mark.parametrize(
    ("sent", "field", "said"),
    [
        ({"certificate": " "}, "certificate", "Paste the certificate"),
        ({"private_key": ""}, "private_key", "Paste the private key"),
        ({"certificate": "hello"}, "certificate", "is no PEM"),
        ({"certificate": "-" * 70_000}, "certificate", "of at most 65,536"),
        ({"certificate": issue("example.org").pem}, "private_key", "is not that of"),
        (issue("example.org").body, "certificate", "not in the zone example.com"),
        ({"private_key": LEAF.encrypted_key}, "private_key", "is encrypted"),
        ({"private_key": "k" * 9000}, "private_key", "of at most 8,192"),
        (
            issue("example.com", begins=now() - timedelta(days=9), days=8).body,
            "certificate",
            "expired on",
        ),
    ],
)
def test_what_will_not_do_is_said_beside_its_field(
    ada: TestClient, zone: str, session: Session, sent: dict[str, str], field: str, said: str
) -> None:
    upload(ada, zone, issue("www.example.com", by=CA))
    before, address = stored(session), edit(ada.get(zone).text)
    for path in (f"{zone}/certificates", address):
        data = {**LEAF.body, **sent}
        answer = ada.post(path, data=data)
        assert answer.status_code == 422
        assert f'id="{field}-error"' in answer.text
        assert said in text_of(answer.text)
        typed = data["certificate"].strip()
        assert typed in html.unescape(answer.text)
        key = data["private_key"].splitlines()[1:-1]
        assert not any(line in answer.text for line in key if len(line) > 20)
        assert "k" * 9000 not in answer.text
    assert stored(session) == before


def test_a_key_in_the_wrong_field_is_not_shown_either(ada: TestClient, zone: str) -> None:
    both = {**LEAF.body, "certificate": LEAF.pem + LEAF.key}
    answer = ada.post(f"{zone}/certificates", data=both)
    assert answer.status_code == 422
    assert "a private key among the certificates" in text_of(answer.text)
    assert LEAF.key.splitlines()[1] not in answer.text


def test_an_end_is_seen_coming(ada: TestClient, zone: str, session: Session) -> None:
    upload(ada, zone, LEAF)

    def status(left: timedelta) -> str:
        session.execute(update(Certificate).values(not_after=now() + left))
        session.commit()
        found = re.search(r"\d{4} ([\w ]+) Replace…", text_of(ada.get(zone).text))
        assert found
        return found[1]

    assert status(timedelta(days=30, hours=1)) == "Valid"
    assert status(timedelta(days=30)) == "29 d left"
    assert status(timedelta(hours=23)) == "Ends today"
    assert status(timedelta(seconds=-1)) == "Expired"


def test_which_of_several_is_shown(ada: TestClient, zone: str) -> None:
    upload(ada, zone, issue("example.com", "shop.example.com", by=CA))
    upload(ada, zone, LEAF)
    page = text_of(ada.get(zone).text)
    assert page.count("A newer one is shown for shop.example.com") == 1
    many = [f"n{number}.example.com" for number in range(8)]
    upload(ada, zone, issue(*many, "example.com", by=CA))
    page = text_of(ada.get(zone).text)
    assert "A newer one is shown for all of them" in page
    assert "n4.example.com and 4 more" in page


def test_a_custom_domain_without_a_certificate_says_so(
    ada: TestClient, zone: str, make_script: object, session: Session, account: Account
) -> None:
    make_script("shop")  # type: ignore[operator]
    for hostname in ("shop.example.com", "a.b.example.com"):
        ada.post(f"{zone}/domains", data={"hostname": hostname, "domain_script": "shop"})
    assert text_of(ada.get(zone).text).count(OWN) == 2
    upload(ada, zone, issue("*.example.com", by=CA))
    page = text_of(ada.get(zone).text)
    assert page.count(OWN) == 1
    assert page.index("a.b.example.com") < page.index(OWN) < page.index("shop.example.com")
    (row,) = zones.zones(session, account)
    assert certificates.uncovered(certificates.of_zone(session, row), ["b.example.com"]) == set()
    session.execute(update(Certificate).values(not_after=now()))
    session.commit()
    assert text_of(ada.get(zone).text).count(OWN) == 2


def test_a_pending_zone_keeps_what_it_is_given(
    ada: TestClient, zone: str, session: Session
) -> None:
    session.execute(update(Zone).values(status="pending"))
    session.commit()
    assert "Upload a certificate" not in text_of(ada.get(zone).text)
    upload(ada, zone, LEAF)
    page = text_of(ada.get(zone).text)
    assert "Every node shows it once example.com is active for shop.example.com." in page
    assert "Waits for the zone" in page


def test_a_strangers_certificate_is_not_there(ada: TestClient, zone: str, session: Session) -> None:
    other = Account(name="other", subdomain="other")
    session.add(other)
    session.flush()
    theirs = zones.create(session, other.id, "their.example")
    chain = chains.read("their.example", *issue("their.example", by=CA).body.values())
    kept = certificates.add(session, theirs, chain, "force")
    session.commit()
    mine = issue("their.example", by=CA).body
    for address in (
        f"/zones/their.example/certificates/{kept.id}",
        f"{zone}/certificates/{kept.id}",
    ):
        assert ada.get(address).status_code == 404
        assert ada.post(address, data=mine).status_code in (404, 422)
        assert ada.post(f"{address}/delete").status_code == 404
    assert ada.post("/zones/their.example/certificates", data=mine).status_code == 404
    assert stored(session) == [chain.fingerprint]
