"""All data is on the first node, and what binds storage goes to no other, unless they share a bucket."""

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from api.clock import now
from api.deployments import rollouts
from api.nodes import service as nodes, stores
from api.nodes.models import Node
from tests.api.test_kv import NAMESPACES, bound, create
from tests.cast import Tenant, upload_parts
from tests.certificates import request_certificate


def second_node(session: Session) -> None:
    token = nodes.issue_join_token(session)
    nodes.enrol(session, token, "edge-2", "https://127.0.0.1:9", request_certificate())
    session.commit()


def test_several_nodes_refuse_what_binds_storage(
    alice: Tenant, session: Session, node: object
) -> None:
    namespace = create(alice, "cache")
    alice.result("PUT", "workers/scripts/before", **bound(namespace))
    second_node(session)
    _, code, message = alice.refusal("PUT", "workers/scripts/app", **bound(namespace))
    assert (code, "SKERRY_BUCKET" in message, "CACHE" in message) == (10400, True, True)
    assert alice.refusal("GET", "workers/services/app")[1] == 10007
    alice.result("PUT", "workers/scripts/app", **upload_parts())
    assert alice.result("GET", NAMESPACES)


def test_nodes_with_one_bucket_take_what_binds_storage(
    alice: Tenant, session: Session, node: object
) -> None:
    namespace = create(alice, "cache")
    second_node(session)
    first, second = session.scalars(select(Node).order_by(Node.name))
    for buckets in (("s3://one", ""), ("s3://one", "s3://two")):
        first.bucket, second.bucket = buckets
        session.commit()
        assert alice.refusal("PUT", "workers/scripts/app", **bound(namespace))[1] == 10400
    second.bucket = "s3://one"
    session.commit()
    alice.result("PUT", "workers/scripts/app", **bound(namespace))
    (slot,) = rollouts.desired(session, second, 0)
    assert (slot["data_node"], slot["data_bucket"], len(slot["versions"])) == (
        "edge-1",
        "s3://one",
        1,
    )
    # Any node that is there leads to the data.
    session.execute(update(Node).values(seen_at=now()))
    assert stores.door(session, alice.id, "kv", namespace).node == "edge-1"
    first.seen_at = now() - 10 * rollouts.LAMBDA_PUSH_LOST_AFTER
    session.commit()
    assert stores.door(session, alice.id, "kv", namespace).node == "edge-2"
    # The first one goes: the other is told that it is the one now.
    rollouts.forget_node(session, first, abandon=False)
    session.commit()
    (slot,) = rollouts.desired(session, second, 0)
    assert slot["data_node"] is None
