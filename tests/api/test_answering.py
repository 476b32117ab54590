"""What leads a request somewhere now, as the page of a request says it."""

from typing import Any

import pytest
from sqlalchemy.orm import Session

from api.zones import leading
from tests.cast import Tenant, upload_parts

PATTERNS = [
    "example.com/*",
    "example.com/api/*",
    "example.com/api/exact",
    "example.com/open*",
    "http://example.com/both/*",
    "example.com/both/*",
    "*example.com/far*",
    "*.example.com/*",
    "*.shop.example.com/cart",
    "https://*.shop.example.com/*",
]


@pytest.fixture
def zone(alice: Tenant) -> Any:
    alice.result("PUT", "workers/scripts/shop", **upload_parts())
    return alice.result("POST", "/zones", json={"name": "example.com"})


def answering(session: Session, tenant: Tenant, host: str, path: str) -> list[str]:
    session.expire_all()
    found = leading.answering(session, tenant.id, host, path)
    return [getattr(one, "pattern", None) or one.hostname for one in found]


@pytest.mark.parametrize(
    ("host", "path", "led"),
    [
        ("example.com", "/", ["example.com/*"]),
        ("example.com", "/api", ["example.com/*"]),
        ("example.com", "/api/", ["example.com/api/*"]),
        ("example.com", "/api/exact", ["example.com/api/exact"]),
        ("example.com", "/api/exact/x", ["example.com/api/*"]),
        ("example.com", "/opened", ["example.com/open*"]),
        ("example.com", "/API/", ["example.com/*"]),
        ("example.com", "/both/x", ["http://example.com/both/*", "example.com/both/*"]),
        ("example.com", "/far", ["*example.com/far*"]),
        ("a.example.com", "/x", ["*.example.com/*"]),
        ("a.example.com", "/far", ["*example.com/far*"]),
        ("a.b.example.com", "/", ["*.example.com/*"]),
        ("a.shop.example.com", "/cart", ["*.shop.example.com/cart"]),
        ("a.shop.example.com", "/x", ["*.example.com/*", "https://*.shop.example.com/*"]),
        ("notexample.com", "/", []),
        ("example.org", "/", []),
    ],
)
def test_the_most_specific_route_answers(
    alice: Tenant, zone: Any, session: Session, host: str, path: str, led: list[str]
) -> None:
    for pattern in PATTERNS:
        body = {"pattern": pattern, "script": "shop"}
        alice.result("POST", f"/zones/{zone['id']}/workers/routes", json=body)
    assert answering(session, alice, host, path) == led


def test_a_custom_domain_takes_what_no_route_does(
    alice: Tenant, mallory: Tenant, zone: Any, session: Session
) -> None:
    wanted = {"hostname": "till.example.com", "service": "shop", "environment": "production"}
    alice.result("PUT", "workers/domains", json={**wanted, "zone_id": zone["id"]})
    body = {"pattern": "https://till.example.com/api/*", "script": "shop"}
    alice.result("POST", f"/zones/{zone['id']}/workers/routes", json=body)
    host = "till.example.com"
    assert answering(session, alice, host, "/x") == [host]
    assert answering(session, alice, host, "/api/x") == [host, body["pattern"]]
    assert answering(session, alice, "other.example.com", "/x") == []
    assert answering(session, mallory, host, "/x") == []
