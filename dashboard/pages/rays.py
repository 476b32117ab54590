"""Why did this request go there? Everything that is known of one, by its Ray id."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from api.db import DB
from api.errors import NotFound
from api.rays import service
from dashboard.pages.logs import OUTCOMES
from dashboard.pages.observability import shown_row
from dashboard.session import CurrentMember
from dashboard.templating import render

router = APIRouter()


@router.get("/rays")
def find(
    request: Request, member: CurrentMember, ray: Annotated[str, Query(max_length=100)] = ""
) -> Response:
    """Where the search box leads."""
    del member
    found = service.ray_of(ray)
    if found:
        return RedirectResponse(f"/rays/{found}", status_code=303)
    problem = "A Ray id has 16 digits from 0 to f, then perhaps a dash and the node." if ray else ""
    return render(
        request,
        "rays/find.html",
        status_code=400 if problem else 200,
        ray=ray,
        problem=problem,
    )


@router.get("/rays/{ray}")
def show(request: Request, session: DB, member: CurrentMember, ray: str) -> Response:
    try:
        found = service.explain(session, member.account, ray[:100])
    except NotFound as problem:
        return render(
            request, "rays/find.html", status_code=404, ray=ray[:100], problem=problem.message
        )
    return render(
        request,
        "rays/show.html",
        found=found,
        record=found.record,
        outcome=OUTCOMES.get(found.record.outcome, ("idle", found.record.outcome)),
        rows=[shown_row(row) for row in found.events],
    )
