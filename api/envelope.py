"""Cloudflare's envelope: what every answer of `/client/v4` is wrapped in (cloudflare-api.md, rule 2)."""

from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

Result = TypeVar("Result")


class ErrorEntry(BaseModel):
    """One entry of `errors`."""

    model_config = ConfigDict(extra="allow")

    code: int
    message: str


class Message(BaseModel):
    """One entry of `messages`: a warning, or what a node answered."""

    code: int = 0
    message: str


class PageOf(BaseModel):
    """`result_info` of a paged list."""

    page: int
    per_page: int
    count: int
    total_count: int
    total_pages: int


class Envelope(BaseModel, Generic[Result]):
    """A successful answer."""

    success: bool = True
    result: Result
    errors: list[ErrorEntry] = []
    messages: list[Message] = []


class PagedEnvelope(Envelope[Result], Generic[Result]):
    """A successful answer with one page of a list."""

    result_info: PageOf


class Failure(BaseModel):
    """A refused request; `success` is what wrangler looks at."""

    success: bool = False
    result: None = None
    errors: list[ErrorEntry]
    messages: list[Message] = []


def failure(*errors: dict[str, Any]) -> dict[str, Any]:
    return {"success": False, "result": None, "errors": list(errors), "messages": []}


def answer(result: Any, messages: list[str] | None = None) -> dict[str, Any]:
    """The envelope of a result, with warnings or progress as `messages`."""
    return {
        "success": True,
        "result": result,
        "errors": [],
        "messages": [{"code": 0, "message": text} for text in messages or []],
    }
