"""D1 databases in the API: Cloudflare's codes, nobody else's; and where a statement ends."""

from typing import Any

import pytest

from api.d1.queries import statements
from tests.cast import Tenant, upload_parts

DATABASES = "d1/database"


def create(tenant: Tenant, name: str) -> str:
    return str(tenant.result("POST", DATABASES, json={"name": name})["uuid"])


def bound(database: str) -> dict[str, Any]:
    return upload_parts(bindings=[{"name": "DB", "type": "d1", "id": database}])


def test_made_found_by_name_and_deleted(alice: Tenant) -> None:
    database = create(alice, "people")
    assert alice.refusal("POST", DATABASES, json={"name": "people"})[:2] == (400, 7502)
    assert alice.refusal("POST", DATABASES, json={"name": "no name"})[:2] == (400, 7400)
    assert alice.result("GET", f"{DATABASES}/people?fields=uuid,name")["uuid"] == database
    assert alice.refusal("GET", f"{DATABASES}/nobody")[:2] == (404, 7404)
    listed = alice.result("GET", f"{DATABASES}?per_page=10&page=1")
    assert [one["name"] for one in listed] == ["people"]
    assert alice.result("GET", f"{DATABASES}?name=other") == []
    alice.result("DELETE", f"{DATABASES}/{database}")
    assert alice.refusal("DELETE", f"{DATABASES}/{database}")[:2] == (404, 7404)


def test_a_strangers_database_is_not_there(alice: Tenant, mallory: Tenant) -> None:
    database = create(alice, "people")
    for method, path in (
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/query"),
        ("POST", "/raw"),
        ("POST", "/import"),
        ("POST", "/export"),
        ("GET", "/time_travel/bookmark"),
        ("POST", "/time_travel/restore?bookmark=x"),
    ):
        body = {"json": {"sql": "SELECT 1", "action": "init"}} if method == "POST" else {}
        refused = mallory.refusal(method, f"{DATABASES}/{database}{path}", **body)
        assert refused[:2] == (404, 7404), path
    assert mallory.refusal("PUT", "workers/scripts/theft", **bound(database))[1] == 10181


def test_a_bound_database_stays(alice: Tenant) -> None:
    database = create(alice, "people")
    alice.result("PUT", "workers/scripts/app", **bound(database))
    _, code, message = alice.refusal("DELETE", f"{DATABASES}/{database}")
    assert (code, "app" in message) == (7510, True)
    alice.result("DELETE", "workers/services/app")
    alice.result("DELETE", f"{DATABASES}/{database}")


@pytest.mark.usefixtures("node")
def test_an_address_of_a_file_is_good_for_that_database_only(alice: Tenant) -> None:
    database = create(alice, "people")
    body = {"action": "init", "etag": "0" * 32}
    begun = alice.result("POST", f"{DATABASES}/{database}/import", json=body)
    path = begun["upload_url"].partition("/client/v4")[2]
    changed = path[:-8] + "AAAAAAA="
    for wrong in ("/d1-files/wrong", changed):
        assert alice.client.put(f"/client/v4{wrong}", content=b"SELECT 1").status_code == 401
    assert alice.client.put(f"/client/v4{path}", content=b"SELECT 1").status_code == 503


@pytest.mark.usefixtures("node")
def test_what_is_no_point_in_time(alice: Tenant) -> None:
    travel = f"{DATABASES}/{create(alice, 'people')}/time_travel"
    now = "2026-01-01T00:00:00Z"
    for query in ("", f"bookmark=x&timestamp={now}", "timestamp=yesterday", "timestamp=2026-01-01"):
        assert alice.refusal("POST", f"{travel}/restore?{query}")[1] == 10004, query
    for bookmark in ("x", "..%2f..%2fx", "0" * 25):
        assert alice.refusal("POST", f"{travel}/restore?bookmark={bookmark}")[:2] == (404, 7504)
    assert alice.refusal("GET", f"{travel}/bookmark?timestamp={now}")[0] == 503


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        (" ;; \n;", []),
        ("SELECT 1", ["SELECT 1"]),
        ("SELECT 1; SELECT 2;", ["SELECT 1;", "SELECT 2;"]),
        ("SELECT ';'; -- a; b\nSELECT 2", ["SELECT ';';", "-- a; b\nSELECT 2"]),
        (
            "CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT 1; SELECT 2; END; SELECT 3",
            ["CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT 1; SELECT 2; END;", "SELECT 3"],
        ),
        ('SELECT "a;b", [c;d] /* ; */ FROM x;', ['SELECT "a;b", [c;d] /* ; */ FROM x;']),
    ],
)
def test_where_a_statement_ends(text: str, found: list[str]) -> None:
    assert list(statements(text)) == found
