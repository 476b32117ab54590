"""Lambda targets over REST; paths of Skerry's own."""

from typing import Any

from fastapi import APIRouter

from api.db import DB, transaction
from api.envelope import Envelope, answer
from api.security import CurrentAccount
from api.targets import permissions, service as targets
from api.targets.access import Access
from api.targets.schemas import PermissionOut, TargetId, TargetIn, TargetOut, target_out

router = APIRouter(prefix="/accounts/{account_id}/skerry/targets", tags=["targets"])


@router.get("", response_model=Envelope[list[TargetOut]])
def list_targets(session: DB, account: CurrentAccount) -> dict[str, Any]:
    """The account's Lambda targets by name, without their secrets."""
    return answer([target_out(target) for target in targets.of_account(session, account.id)])


@router.post("", response_model=Envelope[TargetOut])
def add_target(session: DB, account: CurrentAccount, body: TargetIn) -> dict[str, Any]:
    """Add AWS Lambda in a region; nothing is asked of AWS yet."""
    return answer(target_out(targets.add(session, account.id, body)))


@router.get("/{target_id}", response_model=Envelope[TargetOut])
def get_target(session: DB, account: CurrentAccount, target_id: str) -> dict[str, Any]:
    return answer(target_out(targets.get(session, account.id, target_id)))


@router.delete("/{target_id}", response_model=Envelope[TargetId])
def remove_target(session: DB, account: CurrentAccount, target_id: str) -> dict[str, Any]:
    """Forget a target that no script has chosen; nothing is asked of AWS."""
    return answer({"id": targets.remove(session, account.id, target_id).id})


@router.post("/{target_id}/permissions", response_model=Envelope[list[PermissionOut]])
def test_target(account: CurrentAccount, target_id: str) -> dict[str, Any]:
    """Ask AWS for each permission that a push needs, in a way that changes nothing."""
    with transaction() as session:
        target = targets.get(session, account.id, target_id)
        access, role_arn = Access.of(target), target.role_arn
    return answer([vars(one) for one in permissions.dry_run(access, role_arn)])
