"""Find: every place of the dashboard by its name. The command palette shows the same."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from api.db import DB
from dashboard import finding
from dashboard.session import CurrentMember
from dashboard.templating import render

SEARCH_LENGTH_MAX = 100
router = APIRouter()


@router.get("/find")
def show(
    request: Request, session: DB, member: CurrentMember, search: Annotated[str, Query()] = ""
) -> Response:
    search = search.replace("\0", "").strip()[:SEARCH_LENGTH_MAX]
    places = finding.places(session, member.account, search)
    return render(request, "find/show.html", "find/_options.html", places=places, search=search)
