"""Running a bundle once without storing it: one request, and what came of it."""

import base64
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from api.errors import UploadMalformed
from api.versions import checking
from api.versions.bundle import Upload

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
BODY_SIZE_MAX_BYTES = 1024 * 1024
HEADERS_MAX = 50
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
# What may stand in a path as it is; the rest is escaped as browsers do it.
_PATH_SAFE = "/?:@!$&'()*+,;=-._~%[]"


@dataclass(frozen=True)
class PreviewRequest:
    """What the bundle is asked."""

    method: str = "GET"
    path: str = "/"
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: str = ""


@dataclass(frozen=True)
class LogLine:
    level: str
    text: str


@dataclass(frozen=True)
class Preview:
    """What came of it. Without a status there is a failure that says why."""

    startup_ms: int
    duration_ms: int
    status: int | None
    headers: list[tuple[str, str]]
    body: bytes
    truncated: bool
    threw: bool
    failure: str
    logs: list[LogLine]

    @property
    def content_type(self) -> str:
        for name, value in self.headers:
            if name.lower() == "content-type":
                return value
        return ""

    @property
    def text(self) -> str | None:
        """The body, if it is text."""
        if b"\0" in self.body:
            return None
        try:
            return self.body.decode()
        except UnicodeDecodeError as error:
            # The limit may have cut a character in two.
            if self.truncated and error.start >= len(self.body) - 3:
                return self.body[: error.start].decode()
            return None


def read_request(source: Any) -> PreviewRequest:
    """The `request` of the metadata; raises UploadMalformed, which says what is wrong."""
    if not isinstance(source, dict):
        raise UploadMalformed(
            "`request` must be an object with `method`, `path`, `headers`, `body`."
        )
    headers = source.get("headers") or {}
    if not isinstance(headers, dict):
        raise UploadMalformed("`headers` of the request must be an object.")
    texts = [source.get("method", "GET"), source.get("path", "/"), source.get("body") or ""]
    if not all(isinstance(text, str) for text in [*texts, *headers.values()]):
        raise UploadMalformed("Method, path, headers and body of the request must be text.")
    return checked_request(PreviewRequest(texts[0], texts[1], list(headers.items()), texts[2]))


def checked_request(request: PreviewRequest) -> PreviewRequest:
    """The request in the form in which it can be sent; raises UploadMalformed."""
    if request.method not in METHODS:
        raise UploadMalformed(f"The method must be one of {', '.join(METHODS)}.")
    if not request.path.startswith("/"):
        raise UploadMalformed("The path must begin with a slash.")
    if len(request.headers) > HEADERS_MAX:
        raise UploadMalformed(f"A preview sends at most {HEADERS_MAX} headers.")
    for name, value in request.headers:
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise UploadMalformed(f"{name[:80]!r} cannot be sent as a header.")
    if len(request.body.encode(errors="surrogatepass")) > BODY_SIZE_MAX_BYTES:
        raise UploadMalformed("The body of a preview's request has at most 1 MiB.")
    path = quote(request.path.partition("#")[0].encode(errors="replace"), safe=_PATH_SAFE)
    return PreviewRequest(request.method, path, request.headers, request.body)


def run_once(upload: Upload, request: PreviewRequest, *, script_name: str, origin: str) -> Preview:
    """Start the bundle with its bindings and ask it at that origin; in no transaction.

    Raises ScriptRejected with the runtime's own message if it does not start, Unavailable if the
    preview itself failed.
    """
    asked = {
        "method": request.method,
        "url": origin + request.path,
        "headers": [{"name": name, "value": value} for name, value in request.headers],
        "body": base64.b64encode(request.body.encode(errors="replace")).decode(),
    }
    answer = checking.ask_runtime(
        {**checking.bundle_request(upload, script_name), "request": asked}, "--preview"
    )
    response = answer["response"] or {"status": None, "headers": [], "body": "", "cut": False}
    return Preview(
        startup_ms=answer["startup_ms"],
        duration_ms=answer["duration_ms"],
        status=response["status"],
        headers=[(name, value) for name, value in response["headers"]],
        body=base64.b64decode(response["body"]),
        truncated=response["cut"],
        threw=answer["threw"],
        failure=answer["failure"],
        logs=[LogLine(line["level"], line["text"]) for line in answer["logs"]],
    )
