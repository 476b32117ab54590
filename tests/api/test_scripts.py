"""Scripts: listed, looked up, set, deleted."""

from tests.cast import Tenant, upload_parts

SCRIPT = "workers/scripts/my-app"


def test_a_service_is_what_wrangler_reads_before_a_deploy(alice: Tenant) -> None:
    assert alice.refusal("GET", "workers/services/my-app")[:2] == (404, 10007)
    alice.result("PUT", SCRIPT, **upload_parts())
    environment = alice.result("GET", "workers/services/my-app")["default_environment"]
    assert environment["environment"] == "production"
    assert environment["script"]["last_deployed_from"] == "wrangler"


def test_lists_are_paged_until_a_page_is_empty(alice: Tenant) -> None:
    for name in ("a", "b", "c"):
        alice.result("PUT", f"workers/scripts/{name}", **upload_parts())
    answer = alice.call("GET", "workers/scripts?page=1&per_page=2").json()
    assert len(answer["result"]) == 2
    assert answer["result_info"] == {
        "page": 1,
        "per_page": 2,
        "count": 2,
        "total_count": 3,
        "total_pages": 2,
    }
    assert len(alice.result("GET", "workers/scripts?page=2&per_page=2")) == 1
    assert alice.result("GET", "workers/scripts?page=3&per_page=2") == []
    assert alice.refusal("GET", "workers/scripts?page=0")[0] == 422


def test_script_settings_change_by_name(alice: Tenant) -> None:
    alice.result("PUT", SCRIPT, **upload_parts())
    path = f"{SCRIPT}/script-settings"
    alice.result("PATCH", path, json={"tags": ["cf:service=my-app"]})
    alice.result(
        "PATCH", path, content='{"logpush": false}', headers={"Content-Type": "text/plain"}
    )
    settings = alice.result("GET", path)
    assert settings["tags"] == ["cf:service=my-app"]
    assert settings["logpush"] is False
    assert alice.result("GET", "workers/services/my-app")["default_environment"]["script"][
        "tags"
    ] == ["cf:service=my-app"]


def test_a_deleted_scripts_name_is_free_again(alice: Tenant) -> None:
    alice.result("PUT", SCRIPT, **upload_parts())
    assert alice.result("GET", f"{SCRIPT}/references")["services"]["incoming"] == []
    alice.result("DELETE", SCRIPT)
    assert alice.refusal("DELETE", SCRIPT)[:2] == (404, 10007)
    alice.result("PUT", SCRIPT, **upload_parts())
    assert alice.result("GET", f"{SCRIPT}/versions")["items"][0]["number"] == 1


def test_two_accounts_may_use_the_same_name(alice: Tenant, mallory: Tenant) -> None:
    for tenant in (alice, mallory):
        tenant.result("PUT", SCRIPT, **upload_parts())
    mallory.result("DELETE", SCRIPT)
    assert alice.result("GET", "workers/scripts")[0]["id"] == "my-app"
