"""How often, how well, how fast a Worker answered, and what it used."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from fastapi import APIRouter, Request, Response

from api.db import DB
from api.invocations import metrics
from api.invocations.metrics import RANGES, Sums
from api.nodes import service as nodes
from api.scripts import service as scripts
from api.scripts.urls import script_url
from dashboard.addresses import ScriptName
from dashboard.session import CurrentMember
from dashboard.templating import render

LABELS = {"hour": "Last hour", "day": "Last day", "week": "Last 7 days", "month": "Last 30 days"}
SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
router = APIRouter()


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
    range: Literal["hour", "day", "week", "month"] = "hour",  # noqa: A002 - the parameter's name
) -> Response:
    script = scripts.get(session, member.account, name)
    span = RANGES[range]
    points = metrics.over_time(session, script, span)
    names = {node.id: node.name for node in nodes.list_nodes(session)}
    found = metrics.by_node(session, script, span)
    return render(
        request,
        "metrics/show.html",
        script=script,
        url=script_url(script),
        labels=LABELS,
        chosen=range,
        total=metrics.total(points.values()),
        charts=charts(points),
        versions=_biggest(
            {one[:8]: sums for one, sums in metrics.by_version(session, script, span).items()}
        ),
        nodes=_biggest({names.get(node, "removed"): sums for node, sums in found.items()}),
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


def _biggest(found: Mapping[str, Sums]) -> Iterable[tuple[str, Sums]]:
    return sorted(found.items(), key=lambda item: -item[1].requests)
