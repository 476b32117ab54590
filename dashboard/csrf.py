"""Only our own pages may change things: other sites' forms are refused.

Browsers say where a request comes from (`Sec-Fetch-Site` to hosts they trust, loopback included;
`Origin` with every POST). The token is for clients that send neither.
"""

import secrets
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Form, Request, Response

from api.errors import NotAllowed
from dashboard import cookies

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
# "none" is the person's own doing: a bookmark, or a tab that is restored.
OWN_SITES = frozenset({"same-origin", "none"})


def check(request: Request, csrf_token: Annotated[str, Form()] = "") -> None:
    """A dependency of every page. Raises NotAllowed for a change that another site asks for."""
    if request.method in SAFE_METHODS or _from_here(request, csrf_token):
        return
    raise NotAllowed(
        "This form was not sent from a page of this dashboard, so nothing was changed. "
        "Open the page again and repeat what you did."
    )


def _from_here(request: Request, sent: str) -> bool:
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in OWN_SITES
    origin = request.headers.get("origin")
    if origin is not None:
        return urlsplit(origin).netloc == request.headers.get("host")
    kept = cookies.read(request, "csrf")
    return bool(kept) and secrets.compare_digest(kept.encode(), sent.encode())


def token(request: Request) -> str:
    """The token of this browser, made at its first page; the same throughout a request."""
    if not hasattr(request.state, "csrf_token"):
        request.state.csrf_token = cookies.read(request, "csrf") or secrets.token_urlsafe(32)
    return str(request.state.csrf_token)


def remember(request: Request, response: Response, value: str) -> None:
    if not cookies.read(request, "csrf"):
        cookies.write(request, response, "csrf", value)
