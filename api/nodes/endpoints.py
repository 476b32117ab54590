from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from api.accounts.endpoints import paged
from api.clock import iso
from api.db import DB
from api.envelope import PagedEnvelope
from api.nodes import service
from api.nodes.models import Node
from api.pagination import RequestedPage, page_of_list
from api.security import CurrentAccount

router = APIRouter(prefix="/accounts/{account_id}/skerry", tags=["nodes"])


class NodeOut(BaseModel):
    """A node: what it should run and what it reported last."""

    id: str
    name: str
    generation: int
    reported_generation: int
    seen_on: str | None
    agent_version: str
    runtime_version: str
    sandbox: str


def node_out(node: Node) -> dict[str, Any]:
    return {
        "id": node.id,
        "name": node.name,
        "generation": node.generation,
        "reported_generation": node.reported_generation,
        "seen_on": iso(node.seen_at) if node.seen_at else None,
        "agent_version": node.agent_version,
        "runtime_version": node.runtime_version,
        "sandbox": node.sandbox,
    }


@router.get("/nodes", response_model=PagedEnvelope[list[NodeOut]])
def list_nodes(session: DB, account: CurrentAccount, page: RequestedPage) -> dict[str, Any]:
    """The nodes of this installation. A path of Skerry's own: Cloudflare has no such thing."""
    del account
    listing = page_of_list(service.list_nodes(session), page)
    return paged(listing, [node_out(node) for node in listing.rows])
