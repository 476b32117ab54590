"""The dashboard: an ASGI app of its own that calls `api.<noun>.service` in the same process."""

from typing import Any

from fastapi import Depends, FastAPI
from fastapi.responses import RedirectResponse
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Scope

from api.middleware import Patience
from dashboard import csrf, errors
from dashboard.headers import SecurityHeaders
from dashboard.kept import Resent
from dashboard.pages import (
    alerts,
    analytics,
    components,
    create,
    d1,
    deployments,
    editor,
    find,
    function_logs,
    health,
    kv,
    login,
    logs,
    metrics,
    nodes,
    objects,
    observability,
    queues,
    r2,
    rays,
    resend,
    script_settings,
    scripts,
    setup,
    targets,
    theme,
    tokens,
    triggers,
    usage,
    variables,
    versions,
    worker_zones,
    workflows,
    zone_certificates,
    zones,
)
from dashboard.session import HOME
from dashboard.templating import STATIC


class OwnFiles(StaticFiles):
    """Files of ours: kept for a year under an address with their digest, else asked for again."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        versioned = scope["query_string"].startswith(b"v=")
        kept = "public, max-age=31536000, immutable" if versioned else "no-cache"
        response.headers["Cache-Control"] = kept
        return response


def create_app() -> ASGIApp:
    """The dashboard; needs the settings and database of the control plane."""
    # Around everything, so that the page for an unexpected error carries the headers too.
    return SecurityHeaders(Resent(Patience(pages())))


def pages() -> FastAPI:
    """Every page."""
    options: dict[str, Any] = {"openapi_url": None, "docs_url": None, "redoc_url": None}
    app = FastAPI(title="Skerry dashboard", dependencies=[Depends(csrf.check)], **options)
    app.mount("/static", OwnFiles(directory=STATIC), name="static")
    app.get("/")(home)
    for noun in (
        setup,
        login,
        theme,
        find,
        create,
        scripts,
        script_settings,
        variables,
        triggers,
        zones,
        zone_certificates,
        worker_zones,
        editor,
        deployments,
        versions,
        metrics,
        logs,
        function_logs,
        alerts,
        observability,
        rays,
        usage,
        kv,
        d1,
        analytics,
        nodes,
        targets,
        health,
        r2,
        queues,
        objects,
        workflows,
        tokens,
        components,
        resend,
    ):
        app.include_router(noun.router)
    errors.install(app)
    return app


def home() -> Response:
    return RedirectResponse(HOME, status_code=303)
