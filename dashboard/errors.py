"""Problems as pages: what happened, what was kept, what to do next."""

from http import HTTPStatus

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from api.db import DATABASE_AWAY, database_gone, unavailable
from api.errors import Problem
from dashboard import kept
from dashboard.session import LogInRequired, came_from, to_login
from dashboard.templating import render

log = structlog.get_logger()

_TITLES = {
    400: "That did not work",
    403: "That is not allowed",
    404: "Page not found",
    405: "That is not how this page is used",
    409: "Something stands in the way",
    413: "That is too large",
    429: "Too many attempts",
    500: "Something went wrong on our side",
    503: "A part of Skerry is away",
}
_NOT_FOUND = (
    "There is no page at this address. It may have been deleted, or the address has a typing error."
)
_UNEXPECTED = (
    "Skerry hit an error it did not expect; it is in the log of the control plane. "
    "Go back and look at what was changed before you try again."
)


def install(app: FastAPI) -> None:
    app.exception_handler(LogInRequired)(to_login)
    app.exception_handler(Problem)(_problem)
    app.exception_handler(HTTPException)(_http)
    app.exception_handler(RequestValidationError)(_malformed)
    for away in DATABASE_AWAY:
        app.exception_handler(away)(_database_away)
    app.exception_handler(Exception)(_unexpected)


def page(request: Request, status: int, message: str) -> Response:
    """The page for a problem with that HTTP status."""
    title = _TITLES.get(status) or HTTPStatus(status).phrase
    return render(
        request,
        "errors/problem.html",
        status_code=status,
        status=status,
        title=title,
        message=message,
    )


def _problem(request: Request, error: Problem) -> Response:
    log.info("problem_shown", path=request.url.path, status=error.status, code=error.code)
    response = page(request, error.status, error.message)
    response.headers.update(error.headers)
    return response


async def _database_away(request: Request, error: Exception) -> Response:
    """Nothing was stored. What the person sent is on the page, so that it can be sent again."""
    log.error("database_away", path=request.url.path, reason=str(error))
    problem, gone = unavailable(error), database_gone(error)
    query = f"?{request.url.query}" if request.url.query else ""
    response = render(
        request,
        "errors/away.html",
        status_code=problem.status,
        title="The database does not answer" if gone else _TITLES[409],
        message=problem.message,
        gone=gone,
        kept=await kept.keep(request),
        address=request.url.path + query if request.method == "GET" else came_from(request),
    )
    response.headers.update(problem.headers)
    return response


def _http(request: Request, error: HTTPException) -> Response:
    message = _NOT_FOUND if error.status_code == 404 else f"{error.detail}."
    response = page(request, error.status_code, message)
    response.headers.update(error.headers or {})
    return response


def _malformed(request: Request, error: RequestValidationError) -> Response:
    """A path, query or form of another shape than any page of ours sends."""
    log.info("request_malformed", path=request.url.path, reason=str(error))
    if request.method == "GET":
        return page(request, 404, _NOT_FOUND)
    return page(
        request, 400, "The form was not complete. Nothing was changed. Go back and send it again."
    )


def _unexpected(request: Request, error: Exception) -> Response:
    log.error("page_failed", path=request.url.path, reason=repr(error))
    return page(request, 500, _UNEXPECTED)
