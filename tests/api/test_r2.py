"""R2 buckets in the API: Cloudflare's codes, and nobody else's. What is in them: tests/wrangler/test_r2.py."""

from typing import Any

import pytest

from tests.cast import Tenant, upload_parts

BUCKETS = "r2/buckets"


def names(tenant: Tenant) -> list[str]:
    return [one["name"] for one in tenant.result("GET", BUCKETS)["buckets"]]


def bound(bucket: object) -> dict[str, Any]:
    return upload_parts(bindings=[{"name": "FILES", "type": "r2_bucket", "bucket_name": bucket}])


def test_made_and_listed(alice: Tenant, mallory: Tenant) -> None:
    made = alice.result("POST", BUCKETS, json={"name": "files", "locationHint": "weur"})
    assert (made["name"], made["location"], made["storage_class"]) == ("files", "weur", "Standard")
    alice.result("POST", BUCKETS, json={"name": "cold", "storageClass": "InfrequentAccess"})
    assert names(alice) == ["cold", "files"]
    assert alice.result("GET", f"{BUCKETS}/cold")["storage_class"] == "InfrequentAccess"
    header = {"cf-r2-storage-class": "Standard"}
    alice.result("PATCH", f"{BUCKETS}/cold", headers=header)
    assert alice.result("GET", f"{BUCKETS}/cold")["storage_class"] == "Standard"
    assert alice.refusal("POST", BUCKETS, json={"name": "files"})[:2] == (409, 10004)
    mallory.result("POST", BUCKETS, json={"name": "files"})


@pytest.mark.parametrize(
    "name", ["", "ab", "x" * 64, "Upper", "a_b", "-ab", "ab-", "a b", "a/b", "ä-b-c"]
)
def test_names_that_will_not_do(alice: Tenant, name: str) -> None:
    assert alice.refusal("POST", BUCKETS, json={"name": name})[:2] == (400, 10005)
    assert names(alice) == []


def test_what_skerry_does_not_have_is_refused(alice: Tenant) -> None:
    wanted = {"name": "files"}
    headers = {"cf-r2-jurisdiction": "eu"}
    assert alice.refusal("POST", BUCKETS, json=wanted, headers=headers)[:2] == (400, 10400)
    glacier = {**wanted, "storageClass": "Glacier"}
    assert alice.refusal("POST", BUCKETS, json=glacier)[:2] == (400, 10004)
    assert names(alice) == []


def test_a_strangers_bucket_is_not_there(alice: Tenant, mallory: Tenant) -> None:
    alice.result("POST", BUCKETS, json={"name": "files"})
    for method, path in (
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/objects"),
        ("GET", "/objects/a"),
        ("PUT", "/objects/a"),
        ("DELETE", "/objects/a"),
    ):
        refused = mallory.refusal(method, f"{BUCKETS}/files{path}")
        assert refused[:2] == (404, 10006), (method, path)
    assert names(alice) == ["files"]


def test_a_binding_needs_a_bucket_that_is_there(alice: Tenant, mallory: Tenant) -> None:
    mallory.result("POST", BUCKETS, json={"name": "files"})
    script = "workers/scripts/my-app"
    assert alice.refusal("PUT", script, **bound("files"))[:2] == (400, 10085)
    assert alice.refusal("PUT", script, **bound(""))[:2] == (400, 10021)
    assert alice.refusal("PUT", script, **bound(7))[:2] == (400, 10021)
    assert alice.refusal("GET", "workers/services/my-app")[:2] == (404, 10007)
    alice.result("POST", BUCKETS, json={"name": "files"})
    alice.result("PUT", script, **bound("files"))
    assert alice.refusal("DELETE", f"{BUCKETS}/files")[:2] == (409, 10051)


def test_graphql_needs_a_bucket_of_the_account(alice: Tenant, mallory: Tenant) -> None:
    def refused(tenant: Tenant, variables: dict[str, Any]) -> tuple[int, int]:
        body = {"query": "{ r2StorageAdaptiveGroups }", "variables": variables}
        headers = {"Authorization": f"Bearer {tenant.token}"}
        answer = tenant.client.post("/client/v4/graphql", json=body, headers=headers)
        return answer.status_code, answer.json()["errors"][0]["code"]

    assert refused(alice, {}) == (400, 10004)
    none = {"accountTag": alice.id, "filter": {"bucketName": "none"}}
    assert refused(alice, none) == (404, 10006)
    assert refused(mallory, none) == (403, 10000)
