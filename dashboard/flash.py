"""One sentence for the next page, about what the last form did."""

from urllib.parse import quote, unquote

from fastapi import Request, Response

from dashboard import cookies

# Long enough for a slow redirect, short enough not to surprise on a later visit.
LIFETIME_SECONDS = 60


def put(request: Request, response: Response, text: str) -> None:
    cookies.write(request, response, "flash", quote(text), max_age=LIFETIME_SECONDS)


def peek(request: Request) -> str:
    return unquote(cookies.read(request, "flash"))


def clear(request: Request, response: Response) -> None:
    cookies.erase(request, response, "flash")
