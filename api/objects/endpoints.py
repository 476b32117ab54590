from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query

from api.accounts.endpoints import paged
from api.db import DB, transaction
from api.envelope import PagedEnvelope, answer
from api.nodes import stores
from api.nodes.stores import StoreDoor
from api.objects import listing, service
from api.objects.schemas import ObjectNamespaceOut, ObjectsEnvelope, namespace_out
from api.pagination import RequestedPage
from api.security import CurrentAccount, CurrentActor

router = APIRouter(
    prefix="/accounts/{account_id}/workers/durable_objects/namespaces", tags=["durable objects"]
)
# What asks a node, which the document's tests do not have.
data_router = APIRouter(prefix=router.prefix + "/{namespace_id}", tags=["durable objects data"])
NamespaceId = Annotated[str, Path(description="32 hex digits.")]


@router.get("", response_model=PagedEnvelope[list[ObjectNamespaceOut]])
def list_object_namespaces(
    session: DB, account: CurrentAccount, page: RequestedPage
) -> dict[str, Any]:
    """The classes of the account's scripts that have Durable Objects."""
    found = service.page_of_namespaces(session, account.id, page)
    return paged(found, [namespace_out(namespace) for namespace in found.rows])


def opened_namespace(actor: CurrentActor, namespace_id: NamespaceId) -> StoreDoor:
    with transaction() as session:
        return listing.door(session, actor.account_id, namespace_id)


@data_router.get("/objects", response_model=ObjectsEnvelope)
async def list_objects(
    opened: Annotated[StoreDoor, Depends(opened_namespace)],
    cursor: str = "",
    limit: Annotated[int, Query(ge=10, le=listing.LIST_MAX)] = 1000,
) -> dict[str, Any]:
    """The objects of a namespace that have stored something, by id."""
    async with stores.opened(opened) as store:
        found, following = await listing.objects(store, cursor, limit)
    rows = [{"id": id_, "hasStoredData": True} for id_ in found]
    return {**answer(rows), "result_info": {"count": len(rows), "cursor": following}}
