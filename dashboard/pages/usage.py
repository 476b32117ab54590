"""What Workers used on each day, to be read or taken along."""

from datetime import date
from typing import Literal

from fastapi import APIRouter, Request, Response

from api.db import DB
from api.errors import Refused
from api.usage import service
from api.usage.export import as_file
from api.usage.service import Days
from dashboard.addresses import with_query
from dashboard.session import CurrentMember
from dashboard.templating import render

# Of the table by day; everything is in the files.
DAYS_SHOWN = 500
router = APIRouter()


@router.get("/usage")
def show(request: Request, session: DB, member: CurrentMember) -> Response:
    problem = ""
    try:
        asked = _asked(request)
    except Refused as refusal:
        problem, asked = refusal.message, service.days(None, None)
    listed = service.per_day(session, member.account.id, asked)
    scripts = service.per_script(listed)
    days = {"from": asked.first.isoformat(), "to": asked.last.isoformat()}
    return render(
        request,
        "usage/index.html",
        status_code=400 if problem else 200,
        problem=problem,
        asked=asked,
        scripts=scripts,
        stored=[one for one in scripts if any(map(any, one.stored))],
        days=listed[:DAYS_SHOWN],
        more=len(listed) - DAYS_SHOWN,
        kept_since=service.kept_since(),
        files={
            "CSV": with_query("/usage/export/csv", days),
            "JSON": with_query("/usage/export/json", days),
        },
    )


@router.get("/usage/export/{kind}")
def export(
    request: Request, session: DB, member: CurrentMember, kind: Literal["csv", "json"]
) -> Response:
    asked = _asked(request)
    return as_file(service.per_day(session, member.account.id, asked), asked, kind)


def _asked(request: Request) -> Days:
    return service.days(*(_day(request.query_params.get(name, "")) for name in ("from", "to")))


def _day(text: str) -> date | None:
    """Raises Refused."""
    try:
        return date.fromisoformat(text) if text else None
    except ValueError as error:
        raise Refused(f"{text[:40]!r} is no day: write 2026-01-31.") from error
