"""Secrets: sealed at rest, never given out, kept from version to version."""

import json

from sqlalchemy import Connection, text

from tests.cast import Tenant, upload_parts

SCRIPT = "workers/scripts/my-app"


def _names(alice: Tenant) -> list[str]:
    return sorted(secret["name"] for secret in alice.result("GET", f"{SCRIPT}/secrets"))


def _put(alice: Tenant, name: str, value: str = "s3cret-value") -> None:
    body = {"name": name, "text": value, "type": "secret_text"}
    alice.result("PUT", f"{SCRIPT}/secrets", json=body)


def test_a_secret_makes_a_version_and_a_deployment(alice: Tenant) -> None:
    alice.result("PUT", SCRIPT, **upload_parts())
    _put(alice, "KEY")
    assert _names(alice) == ["KEY"]
    versions = alice.result("GET", f"{SCRIPT}/versions")["items"]
    deployed = alice.result("GET", f"{SCRIPT}/deployments")["deployments"][0]
    assert [version["number"] for version in versions] == [2, 1]
    assert deployed["versions"][0]["version_id"] == versions[0]["id"]
    assert versions[0]["annotations"]["workers/triggered_by"] == "secret"


def test_the_text_of_a_secret_is_nowhere_in_the_database_or_the_answers(
    alice: Tenant, connection: Connection
) -> None:
    alice.result("PUT", SCRIPT, **upload_parts())
    _put(alice, "KEY", "needle-in-the-haystack")
    rows = connection.execute(text("SELECT bindings::text FROM bindings")).scalars().all()
    stored = connection.execute(text("SELECT sealed_text FROM bindings")).scalars().all()
    assert rows
    assert not any("needle" in row for row in rows)
    assert not any(b"needle" in bytes(sealed) for sealed in stored)
    for path in ("settings", "secrets", "versions", "secrets/KEY"):
        assert "needle" not in alice.call("GET", f"{SCRIPT}/{path}").text


def test_secrets_survive_a_deploy_and_vars_do_not(alice: Tenant) -> None:
    variable = {"name": "VAR", "type": "plain_text", "text": "1"}
    alice.result("PUT", SCRIPT, **upload_parts(bindings=[variable]))
    _put(alice, "KEY")
    alice.result("PUT", SCRIPT, **upload_parts())
    kept = alice.result("GET", f"{SCRIPT}/settings")["bindings"]
    assert kept == [{"name": "KEY", "type": "secret_text"}]


def test_keep_bindings_keeps_vars(alice: Tenant) -> None:
    variable = {"name": "VAR", "type": "plain_text", "text": "1"}
    alice.result("PUT", SCRIPT, **upload_parts(bindings=[variable]))
    alice.result("PUT", SCRIPT, **upload_parts(keep_bindings=["plain_text", "json"]))
    assert alice.result("GET", f"{SCRIPT}/settings")["bindings"] == [variable]


def test_inherit_takes_the_binding_of_the_version_before(alice: Tenant) -> None:
    variable = {"name": "VAR", "type": "json", "json": {"a": [1]}}
    alice.result("PUT", SCRIPT, **upload_parts(bindings=[variable]))
    inherit = {"name": "VAR", "type": "inherit"}
    alice.result("PUT", SCRIPT, **upload_parts(bindings=[inherit]))
    assert alice.result("GET", f"{SCRIPT}/settings")["bindings"] == [variable]


def test_bulk_sets_and_deletes_in_one_version(alice: Tenant) -> None:
    alice.result("PUT", SCRIPT, **upload_parts())
    _put(alice, "OLD")
    secrets = {"OLD": None, "A": {"name": "A", "text": "1"}, "B": {"name": "B", "text": "2"}}
    headers = {"Content-Type": "application/merge-patch+json"}
    alice.result(
        "PATCH",
        f"{SCRIPT}/secrets-bulk",
        content=json.dumps({"secrets": secrets}),
        headers=headers,
    )
    assert _names(alice) == ["A", "B"]
    assert alice.result("GET", f"{SCRIPT}/versions")["items"][0]["number"] == 3


def test_a_change_of_nothing_makes_no_version(alice: Tenant) -> None:
    alice.result("PUT", SCRIPT, **upload_parts())
    status, code, _ = alice.refusal("PATCH", f"{SCRIPT}/secrets-bulk", json={"secrets": {}})
    assert (status, code) == (422, 10004)
    assert len(alice.result("GET", f"{SCRIPT}/versions")["items"]) == 1


def test_older_wranglers_set_secrets_by_patching_the_settings(alice: Tenant) -> None:
    alice.result("PUT", SCRIPT, **upload_parts())
    _put(alice, "KEPT")
    bindings = [
        {"type": "secret_text", "name": "KEPT"},
        {"type": "secret_text", "name": "NEW", "text": "x"},
    ]
    files = {"settings": (None, json.dumps({"bindings": bindings}))}
    alice.result("PATCH", f"{SCRIPT}/settings", files=files)
    assert _names(alice) == ["KEPT", "NEW"]


def test_variables_are_set_by_patching_the_settings(alice: Tenant) -> None:
    before = [
        {"name": "A", "type": "plain_text", "text": "1"},
        {"name": "B", "type": "json", "json": {"b": 1}},
    ]
    alice.result("PUT", SCRIPT, **upload_parts(bindings=before))
    _put(alice, "KEPT")
    bindings = [
        {"type": "secret_text", "name": "KEPT"},
        {"type": "plain_text", "name": "A", "text": "2"},
        {"type": "json", "name": "C", "json": [3]},
        {"type": "secret_text", "name": "NEW", "text": "x"},
    ]
    files = {"settings": (None, json.dumps({"bindings": bindings}))}
    alice.result("PATCH", f"{SCRIPT}/settings", files=files)
    kept = {one["name"]: one for one in alice.result("GET", f"{SCRIPT}/settings")["bindings"]}
    assert kept["A"]["text"] == "2"
    assert kept["B"]["json"] == {"b": 1}
    assert kept["C"]["json"] == [3]
    assert _names(alice) == ["KEPT", "NEW"]
    assert len(alice.result("GET", f"{SCRIPT}/deployments")["deployments"]) == 3

    wrong = {
        "settings": (
            None,
            json.dumps({"bindings": [{"type": "json", "name": "C", "json": "x" * 6000}]}),
        )
    }
    assert alice.refusal("PATCH", f"{SCRIPT}/settings", files=wrong)[0] == 400
    kv = {"type": "version_metadata", "name": "D", "x": 1}
    other = {"settings": (None, json.dumps({"bindings": [kv]}))}
    assert (
        "Only variables and secrets" in alice.refusal("PATCH", f"{SCRIPT}/settings", files=other)[2]
    )
    assert len(alice.result("GET", f"{SCRIPT}/deployments")["deployments"]) == 3


def test_deleting_a_secret(alice: Tenant) -> None:
    alice.result("PUT", SCRIPT, **upload_parts())
    _put(alice, "a/b")
    alice.result("DELETE", f"{SCRIPT}/secrets/a%2Fb?url_encoded=true")
    assert _names(alice) == []
    status, code, _ = alice.refusal("DELETE", f"{SCRIPT}/secrets/a%2Fb")
    assert (status, code) == (404, 10056)


def test_a_secret_does_not_put_an_undeployed_version_live(alice: Tenant) -> None:
    alice.result("PUT", SCRIPT, **upload_parts())
    alice.result("POST", f"{SCRIPT}/versions", **upload_parts("export default {}"))
    body = {"name": "KEY", "text": "x", "type": "secret_text"}
    status, code, _ = alice.refusal("PUT", f"{SCRIPT}/secrets", json=body)
    assert (status, code) == (400, 10215)
    patch = {"env": {"KEY": {"type": "secret_text", "text": "x"}}, "annotations": {}}
    made = alice.result("PATCH", "workers/workers/my-app/versions/latest", json=patch)
    assert made["number"] == 3
    deployed = alice.result("GET", f"{SCRIPT}/deployments")["deployments"][0]
    assert deployed["versions"][0]["version_id"] != made["id"]


def test_a_secret_may_not_replace_a_variable(alice: Tenant) -> None:
    variable = {"name": "VAR", "type": "plain_text", "text": "1"}
    alice.result("PUT", SCRIPT, **upload_parts(bindings=[variable]))
    body = {"name": "VAR", "text": "x", "type": "secret_text"}
    status, _, message = alice.refusal("PUT", f"{SCRIPT}/secrets", json=body)
    assert status == 409
    assert "plain_text" in message
