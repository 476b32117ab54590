"""Every failure of the REST API in Cloudflare's envelope; nothing leaves as `{"detail": …}`."""

from http import HTTPStatus

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DataError, DBAPIError, StatementError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from api.db import DATABASE_AWAY, unavailable
from api.envelope import failure
from api.errors import BodyInvalid, NotFound, NotSupported, Problem, Refused
from api.unsupported import product_of

log = structlog.get_logger()

_METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")


def render_problems(app: FastAPI) -> None:
    """Register the handlers on an application."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    for away in DATABASE_AWAY:
        app.add_exception_handler(away, _database_away)
    app.add_exception_handler(DataError, _not_storable)
    app.add_exception_handler(StatementError, _not_storable)
    app.add_exception_handler(UnicodeEncodeError, _not_storable)
    app.add_exception_handler(Exception, _fault)


def respond(problem: Problem) -> JSONResponse:
    return JSONResponse(
        failure(problem.as_error()), status_code=problem.status, headers=problem.headers
    )


def _problem(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)  # noqa: S101 - Starlette's signature is wider than the truth
    level = log.error if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR else log.info
    level("request_refused", path=request.url.path, code=error.code, reason=error.message)
    return respond(error)


def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    reasons = [
        f"{'.'.join(str(part) for part in entry['loc'])}: {entry['msg'].removeprefix('Value error, ')}"
        for entry in error.errors()
    ]
    return _problem(request, BodyInvalid(f"{'; '.join(reasons)}. Nothing was changed."))


def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101
    problem: Problem = Refused(f"{error.detail}. Nothing was changed.")
    status = error.status_code
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED):
        asked = f"{request.method} {request.url.path}"
        product = product_of(request.url.path)
        if product:
            problem = NotSupported(
                f"{product} not supported by Skerry yet ({asked}). "
                "docs/compatibility.md lists what works."
            )
            # D1 reads 404 as "no such database"; a method that is missing stays 405 with `Allow`.
            status = 400 if status == HTTPStatus.NOT_FOUND else status
        else:
            problem = NotFound(f"Skerry has no {asked}.")
        log.info("request_unsupported", method=request.method, path=request.url.path)
    body = failure(problem.as_error())
    headers = dict(error.headers or {})
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_methods_of_path(request))
    return JSONResponse(body, status_code=status, headers=headers)


def _methods_of_path(request: Request) -> list[str]:
    """Every method that the path has; Starlette names only those of the first route that fits."""
    return [
        method
        for method in _METHODS
        if any(
            route.matches({**request.scope, "method": method})[0] == Match.FULL
            for route in request.app.routes
        )
    ]


def _database_away(request: Request, error: Exception) -> JSONResponse:
    log.error("database_away", path=request.url.path, reason=str(error))
    return respond(unavailable(error))


def _not_storable(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, DBAPIError) and not isinstance(error, DataError):
        return _fault(request, error)  # a statement of ours is wrong, not a value of the caller's
    log.info("request_not_storable", path=request.url.path, reason=str(error))
    return respond(Refused("The request holds a value that cannot be stored, a NUL for example."))


def _fault(request: Request, error: Exception) -> JSONResponse:
    log.error("request_failed", path=request.url.path, exc_info=error)
    request_id = structlog.contextvars.get_contextvars().get("request_id", "unknown")
    problem = Problem(
        f"Skerry failed on this request; nothing of it was stored. The log has the cause under "
        f"request id {request_id}."
    )
    return respond(problem)
