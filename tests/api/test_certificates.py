"""Certificates of zones: uploaded, refused, replaced, and what nodes are told of them."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from sqlalchemy import Connection, func, select, update
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from api.alerts import figures
from api.alerts.models import Rule
from api.clock import iso, now
from api.gateway import create_gateway
from api.nodes.models import Node
from api.nodes.service import Enrolment
from api.settings import settings
from api.zones import certificates
from api.zones.models import Certificate, Zone
from tests.cast import Tenant
from tests.certificates import Issued, authority, issue

CA = authority()
NAMES = ("example.com", "*.example.com")


@pytest.fixture
def zone(alice: Tenant) -> str:
    return add_zone(alice, "example.com")


def add_zone(tenant: Tenant, name: str) -> str:
    """The path of its certificates."""
    made = tenant.result("POST", "/zones", json={"name": name})
    return f"/zones/{made['id']}/custom_certificates"


def stored(session: Session) -> list[tuple[Any, ...]]:
    session.expire_all()
    columns = Certificate.__table__.columns
    return [tuple(row) for row in session.execute(select(*columns).order_by(Certificate.id))]


def test_a_certificate_from_its_upload_to_its_end(alice: Tenant, zone: str) -> None:
    issued = issue("Example.COM", "*.example.com", by=CA, days=90)
    sent = {**issued.body, "bundle_method": "force", "type": "sni_custom"}
    answer = alice.call("POST", zone, json=sent).json()
    made = answer["result"]
    ends = issued.certificate.not_valid_after_utc
    assert made | {"id": "", "zone_id": "", "uploaded_on": "", "modified_on": ""} == {
        "id": "",
        "type": "sni_custom",
        "hosts": list(NAMES),
        "shown_hosts": list(NAMES),
        "issuer": "Intermediate",
        "signature": "ECDSAWithSHA256",
        "status": "active",
        "bundle_method": "force",
        "zone_id": "",
        "uploaded_on": "",
        "modified_on": "",
        "expires_on": iso(ends),
        "priority": 0,
        "fingerprint_sha256": issued.certificate.fingerprint(hashes.SHA256()).hex(),
    }
    assert made["zone_id"] in zone
    assert "within seconds for example.com, *.example.com" in answer["messages"][0]["message"]
    assert alice.result("GET", zone) == [made]
    assert alice.result("GET", f"{zone}/{made['id']}") == made

    renewed = issue(*NAMES, by=CA, key=issued.private)
    changed = alice.result("PATCH", f"{zone}/{made['id']}", json={"certificate": renewed.chain})
    assert changed["id"] == made["id"]
    assert changed["fingerprint_sha256"] != made["fingerprint_sha256"]
    assert changed["uploaded_on"] > made["uploaded_on"]
    method = {"bundle_method": "optimal"}
    again = alice.result("PATCH", f"{zone}/{made['id']}", json=method)
    assert again == {**changed, **method, "modified_on": again["modified_on"]}
    other = issue(*NAMES, by=CA)
    moved = alice.result("PATCH", f"{zone}/{made['id']}", json=other.body)
    assert moved["bundle_method"] == "optimal"

    assert alice.result("DELETE", f"{zone}/{made['id']}") == {"id": made["id"]}
    assert alice.result("GET", zone) == []
    for method_ in ("GET", "DELETE"):
        assert alice.refusal(method_, f"{zone}/{made['id']}")[:2] == (404, 1002)
    assert alice.refusal("PATCH", f"{zone}/{made['id']}", json=other.body)[:2] == (404, 1002)


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(65537, 2048),
        ec.generate_private_key(ec.SECP384R1()),
    ],
    ids=["rsa", "p-384"],
)
def test_kinds_of_keys_that_are_taken(alice: Tenant, zone: str, key: Any) -> None:
    alice.result("POST", zone, json=issue(*NAMES, key=key).body)


def test_a_chain_that_is_left_out_is_told_of(alice: Tenant, zone: str) -> None:
    for issued, alone in ((LEAF, True), (issue("example.com"), False)):
        sent = {**issued.body, "certificate": issued.pem}
        said = [one["message"] for one in alice.call("POST", zone, json=sent).json()["messages"]]
        assert (
            any("without the certificate that signed it (Intermediate)" in text for text in said)
            == alone
        )


def test_pages_show_the_newest_first(alice: Tenant, zone: str) -> None:
    for name in ("a.example.com", "b.example.com", "c.example.com"):
        alice.result("POST", zone, json=issue(name, by=CA).body)
    pages = [alice.result("GET", f"{zone}?page={page}&per_page=2") for page in (1, 2)]
    hosts = [[one["hosts"][0] for one in page] for page in pages]
    assert hosts == [["c.example.com", "b.example.com"], ["a.example.com"]]


# --- what is refused --------------------------------------------------------------------------

LEAF = issue(*NAMES, by=CA)
SHORT = rsa.generate_private_key(65537, 1024)  # noqa: S505 - what is to be refused
RSA = rsa.generate_private_key(65537, 2048)
OTHER = authority()
ELEVEN = "".join([LEAF.pem, *[CA.pem] * 10])


def _with(issued: Issued, **changed: str) -> dict[str, str]:
    return {**issued.body, **changed}


REFUSED: dict[str, tuple[dict[str, Any], int, int, str]] = {
    "no PEM": (_with(LEAF, certificate="hello"), 400, 1002, "is no PEM"),
    "half a PEM": (_with(LEAF, certificate=LEAF.pem[:200]), 400, 1002, "is no PEM"),
    "no certificate in it": (
        _with(LEAF, certificate="-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        400,
        1002,
        "is no PEM",
    ),
    "nothing": (_with(LEAF, certificate=""), 400, 1002, "is no PEM"),
    "a key among them": (
        _with(LEAF, certificate=LEAF.pem + LEAF.key),
        400,
        1002,
        "a private key among the certificates",
    ),
    "no key": (_with(LEAF, private_key="hello"), 400, 2106, "is no PEM"),
    "a certificate as key": (_with(LEAF, private_key=LEAF.pem), 400, 2106, "is no PEM"),
    "encrypted key": (_with(LEAF, private_key=LEAF.encrypted_key), 400, 2106, "is encrypted"),
    "another key": (_with(LEAF, private_key=CA.above.key), 400, 2200, "is not that of"),  # type: ignore[union-attr]
    "short key": (issue(*NAMES, key=SHORT).body, 400, 2106, "RSA of 1,024 bits"),
    "Ed25519": (
        issue(*NAMES, by=CA, key=ed25519.Ed25519PrivateKey.generate()).body,
        400,
        2106,
        "is Ed25519. Skerry takes",
    ),
    "P-521": (
        issue(*NAMES, by=CA, key=ec.generate_private_key(ec.SECP521R1())).body,
        400,
        2106,
        "ECDSA on secp521r1",
    ),
    "expired": (
        issue(*NAMES, by=CA, begins=now() - timedelta(days=2), days=1).body,
        400,
        1002,
        "expired on",
    ),
    "not yet": (
        issue(*NAMES, by=CA, begins=now() + timedelta(days=1)).body,
        400,
        1002,
        "is not valid before",
    ),
    "SHA-224": (
        issue(*NAMES, hash_=hashes.SHA224()).body,
        400,
        1002,
        "is signed with ecdsa-with-SHA224",
    ),
    "no name": (issue(by=CA, called="example.com").body, 400, 2103, "has no DNS name"),
    "no DNS name": (
        issue(by=CA, called="a", alternatives=[x509.RFC822Name("a@example.com")]).body,
        400,
        2103,
        "has no DNS name",
    ),
    "elsewhere": (issue("example.org", by=CA).body, 400, 2103, "not in the zone example.com"),
    "one elsewhere": (
        issue("example.com", "notexample.com", by=CA).body,
        400,
        2103,
        "the name notexample.com, which is not in the zone",
    ),
    "above": (issue("*.com", by=CA).body, 400, 2103, "the name *.com, which is not"),
    "half a wildcard": (issue("a*.example.com", by=CA).body, 400, 2103, "no host can have"),
    "two wildcards": (issue("*.*.example.com", by=CA).body, 400, 2103, "no host can have"),
    "live URLs": (issue("*.apps.example.com", by=CA).body, 400, 2103, "where live URLs are"),
    "root first": (
        _with(LEAF, certificate=CA.pem + LEAF.pem),
        400,
        1002,
        "certificate 2 (CN=example.com) is the one of the private key",
    ),
    "a gap": (
        _with(LEAF, certificate=LEAF.pem + CA.above.pem),  # type: ignore[union-attr]
        400,
        1002,
        "certificate 2 (CN=Root) did not sign certificate 1",
    ),
    "a namesake": (
        _with(LEAF, certificate=LEAF.pem + OTHER.pem),
        400,
        1002,
        "certificate 2 (CN=Intermediate) did not sign certificate 1",
    ),
    "eleven": (_with(LEAF, certificate=ELEVEN), 400, 1002, "has 11 certificates"),
    "a long one": (
        _with(LEAF, certificate=LEAF.chain + " " * 65536),
        413,
        10027,
        "of at most 65,536",
    ),
    "long with its key": (
        issue(*[f"n{number:04}.example.com" for number in range(2463)], key=RSA).body,
        413,
        10027,
        "its chain and its key have 66,",
    ),
    "a long key": (_with(LEAF, private_key=" " * 9000), 400, 2106, "of at most 8,192"),
    "geo_restrictions": (
        {**LEAF.body, "geo_restrictions": {"label": "us"}},
        400,
        10400,
        "`geo_restrictions` of a certificate is not supported",
    ),
    "policy": ({**LEAF.body, "policy": "(country: US)"}, 400, 10400, "`policy`"),
    "legacy": ({**LEAF.body, "type": "legacy_custom"}, 400, 10400, "`type: legacy_custom`"),
    "bundle_method": ({**LEAF.body, "bundle_method": "x"}, 422, 10004, "bundle_method"),
    "no field": ({"certificate": LEAF.chain}, 422, 10004, "private_key"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_changes_nothing(
    alice: Tenant,
    zone: str,
    session: Session,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    name: str,
) -> None:
    monkeypatch.setattr(settings(), "apps_domain", "apps.example.com")
    body, status, code, said = REFUSED[name]
    made = alice.result("POST", zone, json=issue("www.example.com", by=CA).body)
    before = stored(session)
    requests = [("POST", zone), ("PATCH", f"{zone}/{made['id']}")]
    for method, path in requests[: 1 if name == "no field" else 2]:
        found = alice.refusal(method, path, json=body)
        assert found[:2] == (status, code), found
        assert said in found[2]
        assert "Nothing was changed" in found[2]
        _is_secret(found[2], body)
    assert stored(session) == before
    _is_secret("".join(capfd.readouterr()), body)


def _is_secret(text: str, body: dict[str, Any]) -> None:
    """No line of the key is in a text."""
    lines = str(body.get("private_key", "")).splitlines()[1:-1]
    assert [line for line in lines if len(line) > 20 and line in text] == []


def test_a_root_at_the_end_may_be_signed_as_in_old_times(alice: Tenant, zone: str) -> None:
    root = issue(called="Old", hash_=hashes.SHA224())
    leaf = issue("example.com", by=root)
    alice.result("POST", zone, json={**leaf.body, "certificate": leaf.pem + root.pem})


def test_a_wildcard_above_the_live_urls_is_taken(
    alice: Tenant, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stands for one label, and they have two more."""
    monkeypatch.setattr(settings(), "apps_domain", "apps.example.com")
    alice.result("POST", zone, json=issue("*.example.com", by=CA).body)


def test_the_same_one_twice_and_one_too_many(
    alice: Tenant, zone: str, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = alice.result("POST", zone, json=LEAF.body)
    before = stored(session)
    status, code, said = alice.refusal("POST", zone, json=LEAF.body)
    assert (status, code) == (400, 1220)
    assert made["id"] in said
    monkeypatch.setattr(certificates, "CERTIFICATES_MAX", 1)
    other = issue("example.com", by=CA)
    assert alice.refusal("POST", zone, json=other.body)[:2] == (400, 1212)
    assert stored(session) == before
    # Its own may come again, with another chain.
    alice.result("PATCH", f"{zone}/{made['id']}", json={"certificate": LEAF.pem})


def test_strangers_find_nothing(alice: Tenant, mallory: Tenant, zone: str) -> None:
    made = alice.result("POST", zone, json=LEAF.body)
    own = add_zone(mallory, "example.org")
    for path in (zone, f"{zone}/{made['id']}"):
        assert mallory.refusal("GET", path)[:2] == (404, 7003)
    assert mallory.refusal("POST", zone, json=LEAF.body)[:2] == (404, 7003)
    for method, body in (("GET", None), ("DELETE", None), ("PATCH", LEAF.body)):
        arguments = {"json": body} if body else {}
        assert mallory.refusal(method, f"{zone}/{made['id']}", **arguments)[:2] == (404, 7003)
        assert mallory.refusal(method, f"{own}/{made['id']}", **arguments)[:2] == (404, 1002)
    assert alice.result("GET", zone) == [made]


def test_no_key_is_answered_logged_or_stored_as_it_is(
    alice: Tenant, zone: str, session: Session, capfd: pytest.CaptureFixture[str]
) -> None:
    said = [alice.call("POST", zone, json=LEAF.body).text]
    made = json.loads(said[0])["result"]
    said += [
        alice.call("GET", zone).text,
        alice.call("PATCH", f"{zone}/{made['id']}", json=LEAF.body).text,
        alice.call("POST", zone, json=LEAF.body).text,
        alice.call("POST", zone, json={**LEAF.body, "certificate": 5}).text,
        repr(stored(session)),
        "".join(capfd.readouterr()),
        alice.call("DELETE", f"{zone}/{made['id']}").text,
    ]
    assert "request_answered" in said[-2]
    for text in said:
        _is_secret(text, LEAF.body)


# --- several with one name --------------------------------------------------------------------


def test_the_newest_wins_a_name(alice: Tenant, zone: str, session: Session) -> None:
    both = issue("example.com", "www.example.com", by=CA)
    first = alice.result("POST", zone, json=both.body)["id"]
    second = alice.result("POST", zone, json=issue("www.example.com", by=CA).body)["id"]

    def shown() -> dict[str, list[str]]:
        return {one["id"]: one["shown_hosts"] for one in alice.result("GET", zone)}

    assert shown() == {first: ["example.com"], second: ["www.example.com"]}
    # Replacing is an upload.
    alice.result("PATCH", f"{zone}/{first}", json={"certificate": both.pem})
    assert shown() == {first: ["example.com", "www.example.com"], second: []}
    session.execute(update(Certificate).where(Certificate.id == first).values(not_after=now()))
    session.commit()
    assert shown() == {first: ["example.com"], second: ["www.example.com"]}
    assert {one["status"] for one in alice.result("GET", zone)} == {"expired", "active"}
    alice.result("DELETE", f"{zone}/{second}")
    assert shown() == {first: ["example.com", "www.example.com"]}


# --- nodes ------------------------------------------------------------------------------------


@pytest.fixture
def gateway(connection: Connection) -> Iterator[TestClient]:
    with TestClient(create_gateway(), raise_server_exceptions=False) as client:
        yield client


def desired(gateway: TestClient, node: Enrolment, digest: str | None) -> Any:
    headers = {"Authorization": f"Bearer {node.token}"}
    known = "" if digest is None else f"&certificates={digest}"
    answer = gateway.get(f"/edge/v1/desired?since=0{known}", headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()["certificates"]


def test_nodes_are_told_once(
    gateway: TestClient, node: Enrolment, alice: Tenant, mallory: Tenant, zone: str
) -> None:
    nothing = desired(gateway, node, "")
    assert nothing["items"] == []
    assert desired(gateway, node, nothing["digest"]) is None
    assert desired(gateway, node, None) is None

    made = alice.result("POST", zone, json=LEAF.body)["id"]
    theirs = add_zone(mallory, "example.org")
    other = issue("example.org", key=RSA)
    foreign = mallory.result("POST", theirs, json=other.body)["id"]
    told = desired(gateway, node, nothing["digest"])
    assert [one["id"] for one in told["items"]] == sorted([made, foreign])
    items = {one["id"]: one for one in told["items"]}
    assert items[made]["names"] == list(NAMES)
    assert items[made]["chain"] == LEAF.chain
    assert items[foreign]["chain"] == other.chain
    for id_, issued in ((made, LEAF), (foreign, other)):
        key = load_pem_private_key(items[id_]["key"].encode(), None)
        assert key.public_key() == issued.private.public_key()
        assert items[id_]["key"].startswith("-----BEGIN PRIVATE KEY-----")
    assert desired(gateway, node, told["digest"]) is None
    assert desired(gateway, node, "") == told
    assert desired(gateway, node, "0" * 64) == told
    alice.result("PATCH", f"{zone}/{made}", json={"bundle_method": "force"})
    assert desired(gateway, node, told["digest"]) is None

    # The same leaf with another chain is news.
    alice.result("PATCH", f"{zone}/{made}", json={"certificate": LEAF.pem})
    shorter = desired(gateway, node, told["digest"])
    assert next(one for one in shorter["items"] if one["id"] == made)["chain"] == LEAF.pem
    # Of one whose names all are a newer one's, nodes hear nothing.
    newer = alice.result("POST", zone, json=issue(*NAMES, by=CA).body)["id"]
    after = desired(gateway, node, shorter["digest"])
    assert {one["id"] for one in after["items"]} == {newer, foreign}
    alice.result("DELETE", f"{zone}/{newer}")
    # Back to what it was.
    assert desired(gateway, node, after["digest"]) == shorter


def test_no_key_is_opened_for_a_node_that_has_them(
    gateway: TestClient, node: Enrolment, alice: Tenant, zone: str, session: Session
) -> None:
    alice.result("POST", zone, json=LEAF.body)
    told = desired(gateway, node, "")
    session.execute(update(Certificate).values(sealed_key=b"no key", chain="no chain"))
    session.commit()
    assert desired(gateway, node, told["digest"]) is None


def test_pending_zones_and_deleted_ones_show_nothing(
    gateway: TestClient, node: Enrolment, alice: Tenant, zone: str, session: Session
) -> None:
    session.execute(update(Zone).values(status="pending"))
    session.commit()
    answer = alice.call("POST", zone, json=LEAF.body).json()
    assert answer["result"]["status"] == "pending"
    assert "once example.com is active" in answer["messages"][0]["message"]
    assert desired(gateway, node, "")["items"] == []
    session.execute(update(Zone).values(status="active"))
    session.commit()
    assert alice.result("GET", zone)[0]["status"] == "active"
    told = desired(gateway, node, "")
    assert len(told["items"]) == 1
    alice.result("DELETE", zone.removesuffix("/custom_certificates"))
    assert desired(gateway, node, told["digest"])["items"] == []
    assert session.scalar(select(func.count()).select_from(Certificate)) == 0


# --- alerts -----------------------------------------------------------------------------------


def test_an_alert_watches_what_the_account_has(
    alice: Tenant, mallory: Tenant, zone: str, node: Enrolment, session: Session
) -> None:
    theirs = add_zone(mallory, "example.org")
    mallory.result("POST", theirs, json=issue("example.org", by=CA, days=3).body)
    alice.result("POST", zone, json=issue("example.com", by=CA, days=2).body)
    alice.result("POST", zone, json=issue("example.com", by=CA, days=9).body)
    ends = {"name": "example.org", "ends_at": datetime.isoformat(now())}
    session.get_one(Node, node.node.id).condition = {"certificates": [ends]}
    session.flush()
    rule = Rule(account_id=alice.id, name="soon", kind="certificate", threshold=14)
    found = {one.name: one for one in figures.of_rule(session, rule) if one.breached}
    assert list(found) == ["example.com"]
    assert "in 9.0 days" in found["example.com"].sentence
