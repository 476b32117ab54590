"""Service bindings in the API: what they name is there, and stays while it is bound."""

from typing import Any

import pytest

from tests.cast import Tenant, upload_parts

SCRIPTS = "workers/scripts"


def calling(service: str, **more: Any) -> dict[str, Any]:
    return upload_parts(bindings=[{"name": "NEXT", "type": "service", "service": service, **more}])


def upload(tenant: Tenant, name: str, parts: dict[str, Any] | None = None) -> Any:
    return tenant.result("PUT", f"{SCRIPTS}/{name}", **(parts or upload_parts()))


def incoming(tenant: Tenant, name: str) -> list[str]:
    found = tenant.result("GET", f"{SCRIPTS}/{name}/references")["services"]["incoming"]
    return [one["service"] for one in found]


def test_what_a_binding_carries_is_kept(alice: Tenant) -> None:
    upload(alice, "callee")
    whole = {"entrypoint": "Admin", "props": {"who": ["me", 1]}, "environment": "production"}
    upload(alice, "caller", calling("callee", **whole))
    (version,) = alice.result("GET", f"{SCRIPTS}/caller/versions")["items"]
    (binding,) = version["resources"]["bindings"]
    assert binding == {"name": "NEXT", "type": "service", "service": "callee", **whole}
    inherited = upload_parts(bindings=[{"name": "NEXT", "type": "inherit"}])
    upload(alice, "caller", inherited)
    newest = alice.result("GET", f"{SCRIPTS}/caller/versions")["items"][0]
    assert newest["resources"]["bindings"] == [binding]


def test_a_script_that_is_not_there(alice: Tenant, mallory: Tenant) -> None:
    upload(mallory, "hers")
    for name in ("hers", "nobody"):
        status, code, said = alice.refusal("PUT", f"{SCRIPTS}/caller", **calling(name))
        assert (status, code) == (400, 10143)
        assert f"'NEXT'. Target script '{name}' not found." in said
    assert alice.refusal("GET", f"{SCRIPTS}/caller/versions")[:2] == (404, 10007)
    upload(alice, "callee")
    status, code, said = alice.refusal(
        "PUT", f"{SCRIPTS}/caller", **calling("callee", environment="staging")
    )
    assert (status, code) == (400, 10143)
    assert "Target environment 'staging' not found for target script 'callee'" in said
    upload(alice, "callee-staging")
    upload(alice, "caller", calling("callee", environment="staging"))
    assert incoming(alice, "callee-staging") == ["caller"]
    assert incoming(alice, "callee") == []


def test_a_script_may_call_itself_from_its_first_version_on(alice: Tenant) -> None:
    upload(alice, "itself", calling("itself"))
    assert incoming(alice, "itself") == []
    alice.result("DELETE", f"{SCRIPTS}/itself")


def test_a_script_that_is_called_is_not_deleted_unasked(alice: Tenant) -> None:
    upload(alice, "callee")
    upload(alice, "caller", calling("callee"))
    bound = alice.result("GET", f"{SCRIPTS}/caller/versions")["items"][0]["id"]
    assert incoming(alice, "callee") == ["caller"]
    for path in (f"{SCRIPTS}/callee", "workers/services/callee?force=false"):
        status, code, said = alice.refusal("DELETE", path)
        assert (status, code) == (400, 10064)
        assert "the deployed version of caller" in said
    upload(alice, "caller")
    assert incoming(alice, "callee") == []
    alice.result("DELETE", f"{SCRIPTS}/callee")
    # No way back to what is gone.
    shares = {"strategy": "percentage", "versions": [{"version_id": bound, "percentage": 100}]}
    refused = alice.refusal("POST", f"{SCRIPTS}/caller/deployments", json=shares)
    assert refused[:2] == (400, 10143)

    upload(alice, "callee")
    upload(alice, "caller", calling("callee"))
    alice.result("DELETE", "workers/services/callee?force=true")


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"service": ""}, 10021),
        ({"service": 5}, 10021),
        ({"entrypoint": 5}, 10021),
        ({"props": [1]}, 10021),
        ({"props": {"a": "\0"}}, 10021),
        ({"props": {"a": "x" * 6000}}, 10021),
        ({"cross_account_grant": "someone"}, 10400),
    ],
)
def test_malformed(alice: Tenant, wrong: dict[str, Any], code: int) -> None:
    upload(alice, "callee")
    parts = calling(**{"service": "callee", **wrong})
    assert alice.refusal("PUT", f"{SCRIPTS}/caller", **parts)[:2] == (400, code)


def test_the_runtime_says_which_entrypoint_of_its_own_is_missing(alice: Tenant) -> None:
    status, code, said = alice.refusal(
        "PUT", f"{SCRIPTS}/itself", **calling("itself", entrypoint="Nope")
    )
    assert (status, code) == (400, 10021)
    assert "Nope" in said
