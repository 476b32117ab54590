"""KV namespaces in the API: Cloudflare's codes, and nobody else's."""

from typing import Any

import pytest

from tests.cast import Tenant, upload_parts

NAMESPACES = "storage/kv/namespaces"


def create(tenant: Tenant, title: str) -> str:
    made = tenant.result("POST", NAMESPACES, json={"title": title})
    assert made["title"] == title
    return str(made["id"])


def bound(namespace: str) -> dict[str, Any]:
    return upload_parts(
        bindings=[{"name": "CACHE", "type": "kv_namespace", "namespace_id": namespace}]
    )


def test_made_listed_renamed_and_deleted(alice: Tenant) -> None:
    first, second = create(alice, "b"), create(alice, "a")
    listed = alice.result("GET", f"{NAMESPACES}?order=title&direction=asc")
    assert [one["id"] for one in listed] == [second, first]
    down = alice.result("GET", f"{NAMESPACES}?direction=desc&per_page=1")
    assert [one["title"] for one in down] == ["b"]
    assert alice.result("PUT", f"{NAMESPACES}/{first}", json={"title": "c"})["title"] == "c"
    assert alice.result("GET", f"{NAMESPACES}/{first}")["title"] == "c"
    alice.result("DELETE", f"{NAMESPACES}/{first}")
    assert alice.refusal("GET", f"{NAMESPACES}/{first}")[:2] == (404, 10013)
    assert alice.refusal("DELETE", f"{NAMESPACES}/{first}")[:2] == (404, 10013)


def test_titles(alice: Tenant, mallory: Tenant) -> None:
    first = create(alice, "cache")
    other = create(alice, "other")
    assert alice.refusal("POST", NAMESPACES, json={"title": "cache"})[:2] == (400, 10014)
    taken = alice.refusal("PUT", f"{NAMESPACES}/{other}", json={"title": "cache"})
    assert taken[:2] == (400, 10014)
    assert alice.refusal("POST", NAMESPACES, json={"title": " "})[:2] == (400, 10019)
    assert alice.refusal("POST", NAMESPACES, json={"title": "x" * 513})[:2] == (400, 10019)
    assert [one["id"] for one in alice.result("GET", NAMESPACES)] == [first, other]
    create(mallory, "cache")


def test_a_strangers_namespace_is_not_there(alice: Tenant, mallory: Tenant) -> None:
    namespace = create(alice, "cache")
    for method, path in (
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/keys"),
        ("GET", "/values/a"),
        ("PUT", "/values/a"),
        ("DELETE", "/values/a"),
        ("GET", "/metadata/a"),
    ):
        refused = mallory.refusal(method, f"{NAMESPACES}/{namespace}{path}")
        assert refused[:2] == (404, 10013), path
    assert mallory.refusal("PUT", "workers/scripts/theft", **bound(namespace))[1] == 10041
    assert mallory.result("GET", NAMESPACES) == []
    assert alice.result("GET", f"{NAMESPACES}/{namespace}")["title"] == "cache"


def test_a_binding_needs_its_namespace(alice: Tenant) -> None:
    assert alice.refusal("PUT", "workers/scripts/app", **bound("1" * 32))[1] == 10041
    assert alice.refusal("PUT", "workers/scripts/app", **bound("cache"))[1] == 10042
    malformed = upload_parts(bindings=[{"name": "CACHE", "type": "kv_namespace"}])
    assert alice.refusal("PUT", "workers/scripts/app", **malformed)[1] == 10021
    assert alice.refusal("GET", "workers/services/app")[1] == 10007


def test_a_bound_namespace_stays(alice: Tenant) -> None:
    namespace = create(alice, "cache")
    alice.result("PUT", "workers/scripts/app", **bound(namespace))
    _, code, message = alice.refusal("DELETE", f"{NAMESPACES}/{namespace}")
    assert (code, "app" in message) == (10051, True)
    before = alice.result("GET", "workers/scripts/app/deployments")["deployments"][0]
    alice.result("PUT", "workers/scripts/app", **upload_parts())
    alice.result("DELETE", f"{NAMESPACES}/{namespace}")
    version = before["versions"][0]["version_id"]
    back = {"versions": [{"version_id": version, "percentage": 100}]}
    refused = alice.refusal("POST", "workers/scripts/app/deployments", json=back)
    assert refused[1] == 10041


def test_without_a_node_nothing_is_kept(alice: Tenant) -> None:
    namespace = create(alice, "cache")
    refused = alice.refusal("PUT", f"{NAMESPACES}/{namespace}/values/a", content=b"1")
    assert refused[:2] == (503, 10500)


@pytest.mark.usefixtures("node")
def test_a_node_that_is_away_is_named(alice: Tenant) -> None:
    namespace = create(alice, "cache")
    _, code, message = alice.refusal("GET", f"{NAMESPACES}/{namespace}/keys")
    assert (code, "edge-1" in message) == (10500, True)


@pytest.mark.parametrize(
    ("method", "path", "content", "code"),
    [
        ("PUT", "values/" + "x" * 513, b"1", 10030),
        ("PUT", "values/..%2F..", b"1", 10500),
        ("PUT", "values/%2E%2E", b"1", 10040),
        ("PUT", "bulk", b"{", 10004),
        ("PUT", "bulk", b'[{"key": "a"}]', 10004),
        (
            "PUT",
            "bulk",
            b"[" + b'{"key":"a","value":""},' * 10_000 + b'{"key":"a","value":""}]',
            10044,
        ),
        ("PUT", "bulk", b'[{"key": "", "value": "1"}]', 10040),
        ("PUT", "bulk", b'[{"key":"a","value":"","metadata":"' + b"m" * 1100 + b'"}]', 10045),
        ("DELETE", "bulk", b"[1]", 10004),
        ("POST", "bulk/get", b'{"keys": []}', 10044),
    ],
    ids=lambda value: str(value)[:20],
)
@pytest.mark.usefixtures("node")
def test_what_cannot_be_written(
    alice: Tenant, method: str, path: str, content: bytes, code: int
) -> None:
    namespace = create(alice, "cache")
    assert alice.refusal(method, f"{NAMESPACES}/{namespace}/{path}", content=content)[1] == code
