"""The REST API: Cloudflare's paths and envelope under `/client/v4`."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from sqlalchemy import text
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from api import graphql
from api.accounts import endpoints as accounts
from api.alerts import endpoints as alerts
from api.analytics import endpoints as analytics
from api.assets import endpoints as assets
from api.comparison import endpoints as comparison
from api.crons import endpoints as crons
from api.d1 import endpoints as d1, files as d1_files
from api.db import DB
from api.deployments.endpoints import (
    deployments,
    removal,
    secrets,
    settings as script_settings,
    subdomains,
    uploads,
)
from api.envelope import Failure
from api.kv import endpoints as kv
from api.logs import endpoints as logs
from api.middleware import JsonWhateverItIsCalled, Patience, RequestLog
from api.nodes import endpoints as nodes
from api.objects import endpoints as objects
from api.queues import endpoints as queues, messages as queue_messages
from api.r2 import endpoints as r2, objects as r2_objects
from api.rays import endpoints as rays
from api.rendering import render_problems
from api.s3 import endpoints as s3_keys
from api.s3.app import S3
from api.s3.caller import PREFIX
from api.scripts import endpoints as scripts
from api.settings import settings
from api.tails import endpoints as tails
from api.targets import endpoints as targets, remote
from api.telemetry import endpoints as telemetry
from api.usage import endpoints as usage
from api.versions import endpoints as versions
from api.workflows import endpoints as workflows
from api.zones.endpoints import certificates, domains as custom_domains, routes, zones

VERSION = "0.1.0"
_FAILURES: dict[int | str, dict[str, Any]] = {
    status: {"model": Failure, "description": words}
    for status, words in {
        400: "Refused: `errors[0]` says what is wrong and what was kept.",
        401: "No token, or one that is unknown or revoked.",
        403: "The token has no access to this account.",
        404: "No such script, version, deployment or secret.",
        405: "This method is not supported by Skerry (yet).",
        409: "The name is in use.",
        413: "Too large.",
        422: "The parameters or the JSON have another shape.",
        503: "A part of the platform is away; nothing was changed.",
    }.items()
}


def create_app() -> FastAPI:
    """Wire the application; the routers are included in the order of the story."""
    app = FastAPI(
        title="Skerry",
        version=VERSION,
        description="Cloudflare's Workers API on your own machines.",
        responses=_FAILURES,
        docs_url=None,
        redoc_url=None,
    )
    for router in (
        accounts.router,
        scripts.router,
        versions.router,
        nodes.router,
        assets.router,
        uploads.router,
        deployments.router,
        secrets.router,
        subdomains.router,
        script_settings.router,
        crons.router,
        zones.router,
        routes.router,
        custom_domains.router,
        certificates.router,
        removal.router,
        tails.router,
        kv.router,
        kv.data_router,
        objects.router,
        objects.data_router,
        workflows.router,
        workflows.data_router,
        d1.router,
        d1.data_router,
        d1_files.router,
        r2.router,
        r2.data_router,
        r2_objects.router,
        queues.router,
        queues.data_router,
        queue_messages.router,
        graphql.router,
        analytics.router,
        s3_keys.router,
        targets.router,
        comparison.router,
        logs.router,
        usage.router,
        rays.router,
        telemetry.router,
        alerts.router,
    ):
        app.include_router(router, prefix="/client/v4")
    for route in (
        Route(PREFIX, S3()),
        Mount(PREFIX, S3()),
        Mount(remote.PREFIX, remote.Bindings()),
    ):
        app.router.routes.append(route)
    render_problems(app)
    app.add_middleware(JsonWhateverItIsCalled)
    app.add_middleware(Patience)
    app.add_middleware(RequestLog)
    _serve_docs(app)

    @app.get("/healthz", include_in_schema=False)
    def health(session: DB) -> dict[str, str]:
        session.execute(text("SELECT 1"))
        return {"status": "ok"}

    return app


def _serve_docs(app: FastAPI) -> None:
    """The API's page, with assets from the locked npm package: no other host is asked."""
    if settings().swagger_directory.is_dir():
        assets = StaticFiles(directory=settings().swagger_directory)
        app.mount("/docs/assets", assets, name="docs-assets")

    @app.get("/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title="Skerry API",
            swagger_js_url="/docs/assets/swagger-ui-bundle.js",
            swagger_css_url="/docs/assets/swagger-ui.css",
            swagger_favicon_url="/docs/assets/favicon-32x32.png",
        )
