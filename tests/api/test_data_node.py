"""All data is on the first node: what binds storage goes to no other."""

from sqlalchemy.orm import Session

from api.nodes import service as nodes
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
