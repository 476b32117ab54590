"""Analytics Engine over REST: `POST …/analytics_engine/sql` with a query as its body."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from api.analytics import queries
from api.analytics.queries import TEXT_MAX
from api.db import DB
from api.errors import Refused, TooLarge
from api.security import CurrentAccount

router = APIRouter(prefix="/accounts/{account_id}/analytics_engine", tags=["analytics engine"])
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Rows in the format that the query names; not in an envelope.",
        "content": {
            "application/json": {"schema": {"type": "object"}},
            "application/x-ndjson": {},
            "text/tab-separated-values; charset=utf-8": {},
        },
    }
}
_BODY = {
    "requestBody": {"required": True, "content": {"text/plain": {"schema": {"type": "string"}}}}
}


async def sent_query(request: Request) -> str:
    """The body as text, whatever type it is said to have."""
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > TEXT_MAX:
            raise TooLarge(f"A query has at most {TEXT_MAX:,} bytes.")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise Refused("A query is text in UTF-8.") from error


@router.post("/sql", response_class=Response, responses=_ANSWERS, openapi_extra=_BODY)
def query_dataset(
    session: DB, account: CurrentAccount, query: Annotated[str, Depends(sent_query)]
) -> Response:
    """What the account's Workers wrote with `writeDataPoint`."""
    return _answer(session, account.id, query)


@router.get("/sql", response_class=Response, responses=_ANSWERS)
def query_dataset_by_address(
    session: DB, account: CurrentAccount, query: Annotated[str, Query(max_length=TEXT_MAX)]
) -> Response:
    """The same with the query in the address."""
    return _answer(session, account.id, query)


def _answer(session: DB, account_id: str, query: str) -> Response:
    content_type, text = queries.written(queries.run(session, account_id, query))
    return Response(text, media_type=content_type)
