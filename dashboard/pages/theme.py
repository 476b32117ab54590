"""Light, dark, or as the person's machine is set."""

from typing import Annotated

from fastapi import APIRouter, Form as Field, Request, Response
from fastapi.responses import RedirectResponse

from dashboard import cookies
from dashboard.session import came_from
from dashboard.templating import THEMES

router = APIRouter()


@router.post("/theme")
def update(request: Request, theme: Annotated[str, Field()] = "") -> Response:
    response = RedirectResponse(came_from(request), status_code=303)
    if theme in THEMES:
        lifetime = cookies.THEME_LIFETIME_SECONDS
        cookies.write(request, response, "theme", theme, max_age=lifetime)
    return response
