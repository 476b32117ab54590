"""Names of our cookies, and how each is set."""

from fastapi import Request, Response

from api.settings import settings

THEME_LIFETIME_SECONDS = 365 * 24 * 3600


def cookie_name(request: Request, purpose: str) -> str:
    """`skerry_<purpose>_<port>`, under TLS with the prefix that ties it to host and path.

    Cookies are shared between the ports of a host: without the port, logging in to one instance on
    a machine would log the browser out of the other.
    """
    port = request.url.port
    name = f"skerry_{purpose}" + (f"_{port}" if port else "")
    return f"__Host-{name}" if _secure(request) else name


def _secure(request: Request) -> bool:
    return request.url.scheme == "https"


def read(request: Request, purpose: str) -> str:
    return request.cookies.get(cookie_name(request, purpose), "")


def write(
    request: Request, response: Response, purpose: str, value: str, *, max_age: int | None = None
) -> None:
    """Set a cookie that no script can read; `max_age` in seconds, None until the browser closes."""
    response.set_cookie(
        cookie_name(request, purpose),
        value,
        max_age=max_age,
        path="/",
        secure=_secure(request),
        httponly=True,
        samesite="lax",
    )


def erase(request: Request, response: Response, purpose: str) -> None:
    response.delete_cookie(
        cookie_name(request, purpose),
        path="/",
        secure=_secure(request),
        httponly=True,
        samesite="lax",
    )


def session_lifetime_seconds() -> int:
    return settings().session_lifetime_days * 24 * 3600
