"""Why a request went where it went, over REST; ours."""

from typing import Annotated, Any

from fastapi import APIRouter, Path

from api.db import DB
from api.envelope import Envelope, answer
from api.rays import service
from api.security import CurrentAccount

router = APIRouter(prefix="/accounts/{account_id}/skerry/rays", tags=["observability"])
RayId = Annotated[
    str, Path(description="The header CF-Ray of the answer.", examples=["0123456789abcdef"])
]


@router.get("/{ray_id}", response_model=Envelope[dict[str, Any]])
def explain_ray(session: DB, account: CurrentAccount, ray_id: RayId) -> dict[str, Any]:
    """Everything that is known of one request: where it went and why, how long it took, what it said."""
    return answer(service.explain(session, account, ray_id).as_json())
