"""Which node has an account's Durable Objects: it alone runs what has them, the others forward to it."""

from typing import Any

import pytest
import redis
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from api import admin
from api.accounts.models import Account
from api.clock import now
from api.crons import service as crons
from api.crons.models import CronRun
from api.deployments import rollouts
from api.errors import Conflict
from api.nodes import service as nodes, stores
from api.nodes.models import Node
from api.nodes.service import Enrolment
from api.objects import service as objects
from api.objects.models import KIND as OBJECTS
from tests.api.test_data_node import second_node
from tests.cast import Tenant, upload_parts

SCRIPTS = "workers/scripts"
SOURCE = """
import { DurableObject } from "cloudflare:workers";
export class Counter extends DurableObject {}
export default { fetch() { return new Response("hi"); } };
"""


def with_objects(tag: str = "v1") -> dict[str, Any]:
    return upload_parts(
        SOURCE,
        bindings=[{"name": "COUNTER", "type": "durable_object_namespace", "class_name": "Counter"}],
        migrations={"new_tag": tag, "steps": [{"new_sqlite_classes": ["Counter"]}]},
    )


def calling(service: str) -> dict[str, Any]:
    return upload_parts(bindings=[{"name": "NEXT", "type": "service", "service": service}])


def join_later(session: Session) -> None:
    second_node(session)
    newest = session.scalars(select(Node).where(Node.name == "edge-2")).one()
    rollouts.catch_up(session, newest)
    session.commit()


def told(session: Session, node: str) -> dict[str, Any]:
    """What a node is told: by script, its home's name, or the number of versions that it runs."""
    session.expire_all()
    found = session.scalars(select(Node).where(Node.name == node)).one()
    slots = rollouts.desired(session, found, 0)
    return {one["name"]: (one["home"] or {}).get("name", len(one["versions"])) for one in slots}


def test_one_node_runs_what_has_objects_and_the_others_forward(
    alice: Tenant, session: Session, node: object
) -> None:
    second_node(session)
    alice.result("PUT", f"{SCRIPTS}/plain", **upload_parts())
    alice.result("PUT", f"{SCRIPTS}/rooms", **with_objects())
    assert told(session, "edge-1") == {"plain": 1, "rooms": 1}
    assert told(session, "edge-2") == {"plain": 1, "rooms": "edge-1"}
    # The other one is told where its visitors go, and not what the script is made of.
    other = session.scalars(select(Node).where(Node.name == "edge-2")).one()
    (slot,) = [one for one in rollouts.desired(session, other, 0) if one["name"] == "rooms"]
    assert (slot["versions"], bool(slot["deployment_id"])) == ([], True)
    listed = {one["id"]: one["home_node"] for one in alice.result("GET", SCRIPTS)}
    assert listed == {"plain": None, "rooms": "edge-1"}
    assert alice.result("GET", "workers/workers/rooms")["home_node"] == "edge-1"
    alice.result("DELETE", f"{SCRIPTS}/rooms?force=true")
    assert told(session, "edge-2") == {"plain": 1, "rooms": 0}


def test_what_calls_it_is_at_home_too(alice: Tenant, session: Session, node: object) -> None:
    second_node(session)
    for name, parts in (
        ("rooms", upload_parts()),
        ("middle", calling("rooms")),
        ("outer", calling("middle")),
        ("other", upload_parts()),
    ):
        alice.result("PUT", f"{SCRIPTS}/{name}", **parts)
    assert told(session, "edge-2") == {"rooms": 1, "middle": 1, "outer": 1, "other": 1}
    alice.result("PUT", f"{SCRIPTS}/rooms", **with_objects())
    moved = dict.fromkeys(("rooms", "middle", "outer"), "edge-1")
    assert told(session, "edge-2") == {**moved, "other": 1}
    alice.result("PUT", f"{SCRIPTS}/late", **calling("outer"))
    assert told(session, "edge-2")["late"] == "edge-1"
    # It does not call any more: then nothing holds it there, nor those that call it.
    alice.result("PUT", f"{SCRIPTS}/middle", **upload_parts())
    assert told(session, "edge-2") == {
        "rooms": "edge-1",
        "middle": 1,
        "outer": 1,
        "late": 1,
        "other": 1,
    }


def test_accounts_are_spread_and_stay(
    alice: Tenant, mallory: Tenant, session: Session, node: object
) -> None:
    second_node(session)
    session.execute(update(Node).values(seen_at=now()))
    session.commit()
    alice.result("PUT", f"{SCRIPTS}/rooms", **with_objects())
    mallory.result("PUT", f"{SCRIPTS}/hers", **with_objects())
    alice.result("PUT", f"{SCRIPTS}/more", **with_objects())
    assert told(session, "edge-1") == {"rooms": 1, "hers": "edge-2", "more": 1}
    # Her data is asked for where it is.
    (namespace,) = session.scalars(objects.owned_by(mallory.id))
    assert stores.door(session, mallory.id, OBJECTS, namespace.id).node == "edge-2"


def test_a_node_that_joins_later_forwards(alice: Tenant, session: Session, node: object) -> None:
    alice.result("PUT", f"{SCRIPTS}/rooms", **with_objects())
    join_later(session)
    assert told(session, "edge-2") == {"rooms": "edge-1"}


def test_a_node_with_objects_is_not_forgotten_unasked(
    alice: Tenant, session: Session, node: Enrolment, capsys: pytest.CaptureFixture[str]
) -> None:
    second_node(session)
    alice.result("PUT", f"{SCRIPTS}/rooms", **with_objects())
    with pytest.raises(Conflict, match="Durable Objects of 1 account"):
        rollouts.forget_node(session, nodes.locked(session, "edge-1"), abandon=False)
    assert admin.remove_node("edge-1") == 1
    assert "--abandon-objects" in capsys.readouterr().err
    assert admin.remove_node("edge-1", abandon_objects=True) == 0
    assert told(session, "edge-2") == {"rooms": 1}
    home = session.scalars(select(Node).where(Node.name == "edge-2")).one()
    assert session.get_one(Account, alice.id).home_id == home.id
    # The last one goes: whoever comes next has them.
    assert admin.remove_node("edge-2", abandon_objects=True) == 0
    join_later(session)
    assert told(session, "edge-2") == {"rooms": 1}


def test_a_cron_run_goes_to_the_home(
    alice: Tenant, session: Session, node: object, broker: redis.Redis
) -> None:
    second_node(session)
    session.execute(update(Node).values(seen_at=now()))
    session.commit()
    alice.result("PUT", f"{SCRIPTS}/plain", **upload_parts())
    alice.result("PUT", f"{SCRIPTS}/rooms", **with_objects())
    asked = {}
    for name in ("plain", "rooms"):
        alice.result("PUT", f"{SCRIPTS}/{name}/schedules", json=[{"cron": "0 0 1 1 *"}])
        alice.result("POST", f"{SCRIPTS}/{name}/schedules/runs", json={"cron": "0 0 1 1 *"})
    session.expire_all()
    for run in session.scalars(select(CronRun)):
        delivery = crons.claim(session, run.id)
        assert delivery
        asked[delivery.script_id] = sorted(one.name for one in delivery.nodes)
    assert sorted(asked.values()) == [["edge-1"], ["edge-1", "edge-2"]]
