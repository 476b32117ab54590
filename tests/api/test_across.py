"""Bindings to the Durable Objects and the workflows of another Worker: what they name is there, and runs where it
does."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.deployments import rollouts
from api.nodes.models import Node
from tests.api.test_data_node import second_node
from tests.api.test_homes import SOURCE, told, with_objects
from tests.cast import Tenant, upload_parts

SCRIPTS = "workers/scripts"
FLOW_SOURCE = """
import { WorkflowEntrypoint } from "cloudflare:workers";
export class Flow extends WorkflowEntrypoint { async run() {} }
export default { fetch() { return new Response("hi"); } };
"""
FLOW = {"name": "FLOW", "type": "workflow", "workflow_name": "flow", "class_name": "Flow"}


def counting(script: str, class_name: str = "Counter", **more: str) -> dict[str, Any]:
    binding = {"name": "COUNTER", "type": "durable_object_namespace", "class_name": class_name}
    return {**binding, "script_name": script, **more}


def upload(tenant: Tenant, name: str, *bindings: dict[str, Any]) -> None:
    tenant.result("PUT", f"{SCRIPTS}/{name}", **upload_parts(bindings=list(bindings)))


def refused(tenant: Tenant, *bindings: dict[str, Any]) -> tuple[int, str]:
    parts = upload_parts(bindings=list(bindings))
    status, code, said = tenant.refusal("PUT", f"{SCRIPTS}/caller", **parts)
    assert status == 400
    assert tenant.refusal("GET", f"{SCRIPTS}/caller/versions")[:2] == (404, 10007)
    return code, said


def bound(session: Session, name: str) -> dict[str, Any]:
    """The first binding as the newest node is told of it."""
    session.expire_all()
    node = session.scalars(select(Node).order_by(Node.name)).first()
    assert node
    (slot,) = [one for one in rollouts.desired(session, node, 0) if one["name"] == name]
    found: dict[str, Any] = slot["versions"][0]["spec"]["bindings"][0]
    return {**found, "generation": slot["generation"]}


def test_what_is_bound_has_to_be_there(alice: Tenant, mallory: Tenant) -> None:
    mallory.result("PUT", f"{SCRIPTS}/hers", **with_objects())
    code, said = refused(alice, counting("hers"))
    assert (code, "Durable Object binding 'COUNTER'. Target script 'hers' not found" in said) == (
        10143,
        True,
    )
    alice.result("PUT", f"{SCRIPTS}/rooms", **with_objects())
    code, said = refused(alice, counting("rooms", "Room"))
    assert code == 10061
    assert "COUNTER for class 'Room' of the Worker rooms" in said
    code, said = refused(alice, {**FLOW, "script_name": "rooms"})
    assert code == 10200
    assert "FLOW: the Worker rooms has no workflow called flow" in said
    code, said = refused(alice, counting("rooms", environment="staging"))
    assert code == 10143
    assert "Target environment 'staging' not found for target script 'rooms'" in said

    flowing = upload_parts(FLOW_SOURCE, bindings=[{**FLOW, "script_name": "flows"}])
    alice.result("PUT", f"{SCRIPTS}/flows", **flowing)
    upload(alice, "caller", counting("rooms"), {**FLOW, "script_name": "flows"})
    # What is bound stays whose it is, and is not deleted unasked.
    assert alice.result("GET", "workflows/flow")["script_name"] == "flows"
    for name in ("rooms", "flows"):
        assert alice.refusal("DELETE", f"{SCRIPTS}/{name}")[:2] == (400, 10064)
    (reference,) = alice.result("GET", f"{SCRIPTS}/rooms/references")["durable_objects"]
    assert (reference["service"], reference["durable_object_namespace_name"]) == (
        "caller",
        "Counter",
    )
    incoming = alice.result("GET", f"{SCRIPTS}/flows/references")["services"]["incoming"]
    assert [one["service"] for one in incoming] == ["caller"]
    (version,) = alice.result("GET", f"{SCRIPTS}/caller/versions")["items"]
    shown = {one["name"]: one for one in version["resources"]["bindings"]}
    assert shown == {"COUNTER": counting("rooms"), "FLOW": {**FLOW, "script_name": "flows"}}


def test_it_runs_at_home_and_knows_where_the_objects_are(
    alice: Tenant, session: Session, node: object
) -> None:
    second_node(session)
    named = [{**counting("rooms"), "name": "SELF"}]
    migrations = {"new_tag": "v1", "steps": [{"new_sqlite_classes": ["Counter"]}]}
    own = upload_parts(SOURCE, bindings=named, migrations=migrations)
    alice.result("PUT", f"{SCRIPTS}/rooms", **own)
    # Its own name is no other Worker's.
    assert "script" not in bound(session, "rooms")
    upload(alice, "caller", counting("rooms"))
    assert told(session, "edge-2") == {"rooms": "edge-1", "caller": "edge-1"}
    (namespace,) = alice.result("GET", "workers/durable_objects/namespaces")
    first = bound(session, "caller")
    assert (first["script"], first["namespace_id"]) == ("rooms", namespace["id"])

    steps = [{"deleted_classes": ["Counter"]}, {"new_classes": ["Counter"]}]
    anew = upload_parts(
        SOURCE, bindings=named, migrations={"old_tag": "v1", "new_tag": "v3", "steps": steps}
    )
    alice.result("PUT", f"{SCRIPTS}/rooms", **anew)
    (namespace,) = alice.result("GET", "workers/durable_objects/namespaces")
    second = bound(session, "caller")
    assert second["generation"] > first["generation"]
    assert first["namespace_id"] != second["namespace_id"] == namespace["id"]
    alice.result("DELETE", f"{SCRIPTS}/rooms?force=true")
    assert bound(session, "caller")["namespace_id"] is None
