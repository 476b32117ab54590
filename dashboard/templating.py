"""Pages: one environment, one `render`."""

import hashlib
import shlex
from functools import lru_cache
from pathlib import Path
from typing import Any

from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from dashboard import cookies, csrf, filters, flash
from dashboard.addresses import worker_path
from dashboard.navigation import navigation

HERE = Path(__file__).parent
STATIC = HERE / "static"
THEMES = ("system", "light", "dark")


@lru_cache
def static_url(path: str) -> str:
    """The address of a file of ours; it changes with the content, so browsers may keep it."""
    digest = hashlib.sha256((STATIC / path).read_bytes()).hexdigest()
    return f"/static/{path}?v={digest[:12]}"


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        time=filters.time,
        bytes=filters.size,
        number=filters.number,
        short_digest=filters.short_digest,
        shell=shlex.quote,
    )
    environment.globals.update(
        static_url=static_url, worker_path=worker_path, navigation=navigation
    )
    return environment


ENVIRONMENT = _environment()


def render(
    request: Request,
    page: str,
    fragment: str | None = None,
    *,
    status_code: int = 200,
    **context: Any,
) -> Response:
    """The page, or only its fragment when htmx asks for it."""
    wants_fragment = "HX-Request" in request.headers and "HX-Boosted" not in request.headers
    template = fragment if fragment and wants_fragment else page
    token = csrf.token(request)
    message = "" if wants_fragment else flash.peek(request)
    html = ENVIRONMENT.get_template(template).render(
        path=request.url.path,
        email=getattr(request.state, "email", None),
        csrf_token=token,
        csp_nonce=request.state.csp_nonce,
        flash=message,
        theme=theme(request),
        **context,
    )
    response = HTMLResponse(html, status_code)
    csrf.remember(request, response, token)
    if message:
        flash.clear(request, response)
    return response


def theme(request: Request) -> str:
    """What this browser was told to look like; `system` follows the person's machine."""
    chosen = cookies.read(request, "theme")
    return chosen if chosen in THEMES else THEMES[0]
