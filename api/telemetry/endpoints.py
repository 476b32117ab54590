from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from api import health
from api.db import DB
from api.security import CurrentAccount
from api.telemetry import prometheus

router = APIRouter(prefix="/accounts/{account_id}/skerry", tags=["telemetry"])


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def get_metrics(session: DB, account: CurrentAccount) -> Response:
    """The figures of the account's scripts and of the installation, in Prometheus' text format."""
    text = prometheus.Figures(session, account, health.broker()).text()
    return Response(text, media_type=CONTENT_TYPE_LATEST)
