"""How often, how well, how fast a Worker answered, and what it used."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy import select

from api.db import DB
from api.invocations import metrics
from api.invocations.metrics import RANGES, Scope, Sums
from api.nodes import service as nodes
from api.scripts import service as scripts
from api.scripts.urls import script_url
from dashboard.addresses import ScriptName, worker_path
from dashboard.pages.nodes import NodeId
from dashboard.session import CurrentMember
from dashboard.templating import render

LABELS = {"hour": "Last hour", "day": "Last day", "week": "Last 7 days", "month": "Last 30 days"}
SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
router = APIRouter()
RangeName = Literal["hour", "day", "week", "month"]


@dataclass(frozen=True)
class Named:
    """A row of a breakdown, and the page that draws it alone."""

    name: str
    href: str


@dataclass(frozen=True)
class Chart:
    """Lines over time, and the table of their values."""

    name: str
    title: str
    unit: str
    columns: list[str]
    rows: list[tuple[datetime, list[float | None]]]


@router.get("/workers/{name}/metrics")
def show(
    request: Request,
    session: DB,
    member: CurrentMember,
    name: ScriptName,
    range: RangeName = "hour",  # noqa: A002 - the parameter's name
    version: Annotated[str, Query(pattern="^[0-9a-f-]{0,36}$")] = "",
    node: Annotated[str, Query(pattern="^([0-9a-f]{32})?$")] = "",
) -> Response:
    """All requests of a Worker, or those of one version, or on one node."""
    script = scripts.get(session, member.account, name)
    span, scope = RANGES[range], Scope([script.id], version, node)
    points = metrics.over_time(session, scope, span)
    names = {found.id: found.name for found in nodes.list_nodes(session)}
    return render(
        request,
        "metrics/show.html",
        script=script,
        url=script_url(script),
        labels=LABELS,
        chosen=range,
        kept=urlencode(
            {key: value for key, value in (("version", version), ("node", node)) if value}
        ),
        version=version,
        node_name=names.get(node, "a node that was removed") if node else "",
        total=metrics.total(points.values()),
        charts=charts(points),
        statuses=metrics.by_status(session, scope, span),
        versions=_biggest(
            {
                Named(one[:8], f"?range={range}&version={one[:8]}"): sums
                for one, sums in metrics.by_version(session, scope, span).items()
            }
        ),
        nodes=_biggest(
            {
                Named(names.get(one, "removed"), f"?range={range}&node={one}"): sums
                for one, sums in metrics.by_node(session, scope, span).items()
            }
        ),
    )


@router.get("/nodes/{node_id}/metrics")
def show_node(
    request: Request,
    session: DB,
    member: CurrentMember,
    node_id: NodeId,
    range: RangeName = "hour",  # noqa: A002 - the parameter's name
) -> Response:
    """All requests of the account's Workers on one node."""
    found = nodes.get(session, node_id)
    owned = scripts.owned_by(member.account_id).subquery()
    names = {row.id: row.name for row in session.execute(select(owned.c.id, owned.c.name))}
    span, scope = RANGES[range], Scope(names.keys(), node_id=node_id)
    points = metrics.over_time(session, scope, span)
    return render(
        request,
        "metrics/node.html",
        node=found,
        labels=LABELS,
        chosen=range,
        total=metrics.total(points.values()),
        charts=charts(points),
        scripts=_biggest(
            {
                Named(
                    names[one],
                    worker_path(names[one], "metrics") + f"?range={range}&node={node_id}",
                ): sums
                for one, sums in metrics.by_script(session, scope, span).items()
            }
        ),
    )


def charts(points: Mapping[datetime, Sums]) -> list[Chart]:
    return [
        Chart(
            "requests",
            "Requests",
            "",
            ["Requests", "Errors"],
            [(at, [one.requests, one.errors]) for at, one in points.items()],
        ),
        Chart(
            "duration",
            "Duration",
            "ms",
            list(SHARES),
            [
                (at, [one.quantile_ms(share) for share in SHARES.values()])
                for at, one in points.items()
            ],
        ),
        Chart(
            "cpu",
            "CPU time",
            "ms",
            ["CPU time"],
            [(at, [one.cpu_ms]) for at, one in points.items()],
        ),
    ]


def _biggest(found: Mapping[Named, Sums]) -> Iterable[tuple[Named, Sums]]:
    return sorted(found.items(), key=lambda item: -item[1].requests)
