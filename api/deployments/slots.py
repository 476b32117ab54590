"""What a node, or a Lambda target, is told of a script."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy.orm import Session

from api.deployments.models import Rollout
from api.nodes import stores
from api.nodes.models import Node
from api.scripts.urls import hostnames
from api.targets import service as targets
from api.targets.models import LambdaTarget
from api.versions import service as versions
from api.zones import leading
from api.zones.leading import Addresses


def slot(session: Session, rollout: Rollout) -> dict[str, Any]:
    """As the wire has it: SPEC of edge/README.md."""
    return slots(session, [rollout])[0]


def slots(session: Session, rollouts: Iterable[Rollout]) -> list[dict[str, Any]]:
    """Of many rollouts, in their order; what is the same for all is looked up once."""
    rows = list(rollouts)
    data_node = stores.data_node(session)
    # A Lambda target need not hear of its own function.
    ids = [row.script_id for row in rows if not isinstance(row.target, LambdaTarget)]
    functions = targets.backups(session, ids)
    addresses = leading.addresses(session, {row.script_id for row in rows if row.deployment_id})
    return [
        _slot(
            session,
            row,
            data_node,
            functions.get(row.script_id),
            addresses.get(row.script_id, Addresses()) if row.deployment_id else Addresses(),
        )
        for row in rows
    ]


def _slot(
    session: Session,
    rollout: Rollout,
    data_node: Node | None,
    function: dict[str, str] | None,
    addresses: Addresses,
) -> dict[str, Any]:
    script, deployment = rollout.script, rollout.deployment
    home = _other_home(session, rollout)
    shares = deployment.shares if deployment and not home else []
    # Another node has to refuse scripts that bind storage, unless all keep it in one bucket.
    elsewhere = data_node is not None and data_node.id != rollout.target_id
    return {
        "script_id": script.id,
        "account_id": script.account_id,
        "name": script.name,
        "generation": rollout.generation,
        "deployment_id": rollout.deployment_id,
        "hostnames": [*(hostnames(script) if deployment else []), *addresses.hostnames],
        "routes": addresses.routes,
        "scaling": script.scaling.model_dump(),
        "data_node": data_node.name if data_node and elsewhere else None,
        "data_bucket": (data_node.bucket or None) if data_node else None,
        "home": {"node_id": home.id, "name": home.name} if home else None,
        "function": function if deployment else None,
        "versions": [
            {
                "version_id": version.id,
                "number": version.number,
                "percentage": percentage,
                "spec": versions.spec(version),
            }
            for version, percentage in shares
        ],
    }


def _other_home(session: Session, rollout: Rollout) -> Node | None:
    """The node that alone runs the script, if the rollout goes to another one, which forwards to it."""
    home_id = rollout.script.home_id
    forwards = rollout.deployment and isinstance(rollout.target, Node) and home_id
    if not forwards or home_id == rollout.target_id:
        return None
    return session.get(Node, home_id)
