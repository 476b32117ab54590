"""The questions of Cloudflare's GraphQL API that wrangler asks: `r2 bucket info`, `d1 info`, `d1 insights`."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ValidationError

from api.clock import iso, now
from api.db import DB
from api.errors import NotAllowed, Refused
from api.r2 import flows, service
from api.security import CurrentToken

router = APIRouter(tags=["r2 data"])


class GraphQuery(BaseModel):
    query: str
    variables: dict[str, Any] = {}


class StorageFilter(BaseModel):
    bucketName: str  # noqa: N815 - Cloudflare's name


class StorageVariables(BaseModel):
    accountTag: str  # noqa: N815
    filter: StorageFilter


@router.post("/graphql")
def ask(session: DB, token: CurrentToken, body: GraphQuery) -> dict[str, Any]:
    """How much is in an R2 bucket. Queries of D1 are not counted, so those lists are empty."""
    groups: dict[str, list[Any]] = {"d1AnalyticsAdaptiveGroups": [], "d1QueriesAdaptiveGroups": []}
    if "r2StorageAdaptiveGroups" in body.query:
        groups = {"r2StorageAdaptiveGroups": [_storage(session, token.account_id, body.variables)]}
    return {"data": {"viewer": {"accounts": [groups]}}, "errors": None}


def _storage(session: DB, account_id: str, variables: dict[str, Any]) -> dict[str, Any]:
    try:
        wanted = StorageVariables.model_validate(variables)
    except ValidationError as error:
        raise Refused("The variables `accountTag` and `filter.bucketName` are missing.") from error
    if wanted.accountTag != account_id:
        raise NotAllowed("Authentication error: this token has no access to that account.")
    bucket = service.get(session, account_id, wanted.filter.bucketName)
    objects, size = flows.totals(session, bucket)
    most = {"objectCount": objects, "payloadSize": size, "metadataSize": 0}
    return {"max": most, "dimensions": {"datetime": iso(now())}}
