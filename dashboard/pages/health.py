"""Health: every part of the installation, asked now."""

from fastapi import APIRouter, Request, Response

from api.db import transaction
from api.nodes import service as nodes
from dashboard import health
from dashboard.session import current_member
from dashboard.templating import render

router = APIRouter()


@router.get("/health")
def show(request: Request) -> Response:
    """Postgres is asked before anybody's session is read, which would wait for it.

    While it is away nobody can be recognised: whoever asks learns that, and nothing else.
    """
    database = health.database()
    if database.problem:
        return render(request, "health/show.html", status_code=503, parts=[database], problems=1)
    with transaction() as session:
        current_member(request, session)
        found = nodes.list_nodes(session)
    # The transaction is over: waiting for the others holds no connection.
    parts = [database, *health.parts(found)]
    problems = sum(part.problem for part in parts)
    return render(request, "health/show.html", parts=parts, problems=problems)
