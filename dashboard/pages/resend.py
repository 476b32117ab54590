"""Where a kept form is sent that cannot be read: dashboard.kept turns every other into what it was."""

from fastapi import APIRouter

from api.errors import Refused
from dashboard.kept import RESEND

router = APIRouter()


@router.post(RESEND)
def create() -> None:
    raise Refused(
        "This form is not kept any more: it is older than an hour, or it was kept in another browser. "
        "Nothing was changed. Fill it in again."
    )
