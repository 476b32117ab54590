"""Analytics Engine: the account's datasets, and a console for its SQL."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from api.analytics import points, queries
from api.analytics.values import NUMBERS
from api.db import DB
from api.errors import Refused
from dashboard.forms import Form
from dashboard.session import CurrentMember
from dashboard.templating import render

# A page is no place for ten thousand rows.
ROWS_SHOWN = 200
router = APIRouter(prefix="/analytics")


@dataclass(frozen=True)
class Shown:
    """A result as a table."""

    headings: list[str | tuple[str, str]]
    numeric: list[bool]
    rows: list[list[Any]]
    total: int

    @classmethod
    def of(cls, result: queries.Result) -> "Shown":
        numeric = [kind in NUMBERS for _, kind in result.columns]
        names = [name for name, _ in result.columns]
        headings = [
            (name, "num") if one else name for name, one in zip(names, numeric, strict=True)
        ]
        return cls(headings, numeric, result.rows[:ROWS_SHOWN], len(result.rows))


@router.get("")
def index(
    request: Request,
    session: DB,
    member: CurrentMember,
    query: Annotated[str, Query(max_length=8192)] = "",
) -> Response:
    """The query is in the address: reading changes nothing, and a result can be kept as a bookmark."""
    datasets = points.datasets(session, member.account.id)
    form = Form({"query": query or (suggested(datasets[0].name) if datasets else "")})
    result = None
    if query.strip():
        try:
            result = queries.run(session, member.account.id, query)
        except Refused as problem:
            form = Form(form.values, {"query": problem.message})
    return render(
        request,
        "analytics/index.html",
        datasets=[(one, suggested(one.name)) for one in datasets],
        form=form,
        result=result and Shown.of(result),
        status_code=422 if form.errors else 200,
    )


def suggested(dataset: str) -> str:
    """Something that says a little about any dataset."""
    return (
        "SELECT toStartOfHour(timestamp) AS hour, count() AS points, avg(double1) AS mean\n"
        f"FROM {dataset}\n"
        "WHERE timestamp > now() - INTERVAL '1' DAY\n"
        "GROUP BY hour ORDER BY hour DESC LIMIT 24"
    )
