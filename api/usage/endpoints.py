"""Usage over REST; ours, as Cloudflare tells it by GraphQL only."""

from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from api.db import DB
from api.envelope import Envelope, answer
from api.security import CurrentAccount
from api.usage import service
from api.usage.export import Format, as_file

router = APIRouter(prefix="/accounts/{account_id}/skerry/usage", tags=["usage"])


class UsedOut(BaseModel):
    """One script on one day (UTC)."""

    day: str
    script: str
    script_id: str
    requests: int
    cpu_ms: int
    wall_ms: int
    ingress_bytes: int
    egress_bytes: int
    kv_reads: int
    kv_writes: int
    d1_rows_read: int
    d1_rows_written: int
    r2_reads: int
    r2_writes: int
    queue_messages_received: int
    queue_messages_sent: int
    durable_object_reads: int
    durable_object_writes: int


@router.get("", response_model=Envelope[list[UsedOut]])
def list_usage(
    session: DB,
    account: CurrentAccount,
    first: Annotated[date | None, Query(alias="from")] = None,
    last: Annotated[date | None, Query(alias="to")] = None,
) -> dict[str, Any]:
    """What each script used on each day, of the last 30 days unless others are asked for."""
    asked = service.days(first, last)
    used = service.per_day(session, account.id, asked)
    return answer([one.as_json() for one in used])


@router.get("/export", response_class=Response)
def export_usage(
    session: DB,
    account: CurrentAccount,
    first: Annotated[date | None, Query(alias="from")] = None,
    last: Annotated[date | None, Query(alias="to")] = None,
    format: Format = "csv",  # noqa: A002 - the parameter's name
) -> Response:
    """The same as a file."""
    asked = service.days(first, last)
    return as_file(service.per_day(session, account.id, asked), asked, format)
