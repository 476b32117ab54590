"""Nodes: the list, one node and what waits for it, what the sandbox levels mean."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from api.db import DB
from api.deployments import rollouts
from api.deployments.models import Rollout
from api.invocations import queries as invocations
from api.nodes import service as nodes
from api.pagination import LAST_PAGE, Page
from dashboard import nodes as words, progress
from dashboard.paging import Paging
from dashboard.session import CurrentMember
from dashboard.templating import render

PER_PAGE = 25
router = APIRouter()
NodeId = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]


@router.get("/nodes")
def index(request: Request, session: DB, member: CurrentMember) -> Response:
    del member
    found = nodes.list_nodes(session)
    return render(
        request,
        "nodes/index.html",
        lines=[words.line(node) for node in found],
        skew=words.skew(found),
    )


@router.get("/nodes/sandbox")
def sandbox(request: Request, member: CurrentMember) -> Response:
    del member
    return render(request, "nodes/sandbox.html", levels=words.LEVELS)


@router.get("/nodes/{node_id}")
def show(
    request: Request,
    session: DB,
    member: CurrentMember,
    node_id: NodeId,
    page: Annotated[int, Query(ge=1, le=LAST_PAGE)] = 1,
) -> Response:
    node = nodes.get(session, node_id)
    wanted = Page(page=page, per_page=PER_PAGE)
    listing = rollouts.unsettled(session, node, member.account, wanted)
    return render(
        request,
        "nodes/show.html",
        line=words.line(node),
        lost=[(one, words.lost_because(one.reason)) for one in invocations.lost(session, node.id)],
        rows=[_row(rollout) for rollout in listing.rows],
        paging=Paging(f"/nodes/{node_id}", page, PER_PAGE, listing.total),
    )


def _row(rollout: Rollout) -> tuple[Rollout, str, str]:
    """A rollout with the kind of its status and its words."""
    kind, word = progress.words_of(rollout)
    return rollout, kind, word if rollout.deployment_id else f"Withdrawal: {word.lower()}"
