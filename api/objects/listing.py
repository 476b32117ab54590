"""What a namespace holds, asked of the node that has it."""

from typing import Any

from sqlalchemy.orm import Session

from api.errors import Unavailable
from api.nodes import stores
from api.nodes.stores import Store, StoreDoor
from api.objects import service
from api.objects.models import KIND

LIST_MAX = 10_000


def door(session: Session, account_id: str, namespace_id: str) -> StoreDoor:
    """Raises ObjectNamespaceNotFound, or Unavailable when there is no node."""
    namespace = service.get(session, account_id, namespace_id)
    return stores.door(session, account_id, KIND, namespace.id)


async def objects(store: Store, cursor: str, limit: int) -> tuple[list[str], str]:
    """Ids in their order, and what the next page begins after, if there is one."""
    answer = await store.ask("GET", "/objects", query={"after": cursor, "limit": str(limit + 1)})
    if not answer.is_success:
        raise Unavailable(f"The node does not list the objects: {answer.text[:200]}")
    found: dict[str, Any] = answer.json()
    ids = list(found["objects"])
    return ids[:limit], ids[limit - 1] if len(ids) > limit else ""
