"""Credentials of functions: each opens what one version binds here, and is replaced every week."""

from collections.abc import Collection
from datetime import timedelta

from sqlalchemy import Select, delete, exists, or_, select, update
from sqlalchemy.orm import Session

from api import ids, sealing
from api.clock import now
from api.scripts.models import Script
from api.targets.models import ChosenTarget, FunctionCredential
from api.versions.models import Version

PREFIX = "skb_"
# A push gives a function a new one when its own is this old.
REPLACED_EVERY = timedelta(days=7)
# How long the one before still opens: invocations that were under way, and an alias that moves back.
OVERLAP = timedelta(hours=1)


def in_use(session: Session, target_id: str, version_id: str) -> str:
    """The secret that the version's function has since the last push; empty when it has none."""
    found = session.scalar(_newest(target_id, version_id))
    return sealing.unseal(found.sealed_secret) if found else ""


def for_push(session: Session, target_id: str, version_id: str) -> str:
    """The secret that the version's function is to have: its own one, or a new one for an old one."""
    found = session.scalar(_newest(target_id, version_id))
    if found is not None and found.issued_at > now() - REPLACED_EVERY:
        return sealing.unseal(found.sealed_secret)
    secret = ids.secret(PREFIX)
    session.add(
        FunctionCredential(
            target_id=target_id,
            script_id=session.get_one(Version, version_id).script_id,
            version_id=version_id,
            digest=ids.digest(secret.encode()),
            sealed_secret=sealing.seal(secret),
        )
    )
    return secret


def placed(session: Session, target_id: str, script_id: str, secrets: Collection[str]) -> None:
    """The functions have these now: all others of the script there end soon."""
    digests = [ids.digest(secret.encode()) for secret in secrets]
    mine = (
        FunctionCredential.target_id == target_id,
        FunctionCredential.script_id == script_id,
    )
    replaced = FunctionCredential.digest.not_in(digests), FunctionCredential.replaced_at.is_(None)
    session.execute(update(FunctionCredential).where(*mine, *replaced).values(replaced_at=now()))
    kept = FunctionCredential.digest.in_(digests)
    session.execute(update(FunctionCredential).where(*mine, kept).values(replaced_at=None))
    ended = FunctionCredential.replaced_at < now() - OVERLAP
    session.execute(delete(FunctionCredential).where(*mine, ended))


def revoke(session: Session, target_id: str, script_id: str) -> None:
    """Refuse all of a script's on a target from now on."""
    session.execute(
        delete(FunctionCredential).where(
            FunctionCredential.target_id == target_id, FunctionCredential.script_id == script_id
        )
    )


def recognise(session: Session, secret: str) -> FunctionCredential | None:
    """None for one that is unknown, replaced for too long, or of a script that has left the target."""
    return session.scalar(
        select(FunctionCredential).where(
            FunctionCredential.digest == ids.digest(secret.encode()),
            or_(
                FunctionCredential.replaced_at.is_(None),
                FunctionCredential.replaced_at > now() - OVERLAP,
            ),
            exists().where(
                ChosenTarget.script_id == FunctionCredential.script_id,
                ChosenTarget.target_id == FunctionCredential.target_id,
            ),
        )
    )


def due(session: Session) -> list[tuple[str, str, str]]:
    """Account, name of the script and target of functions whose credentials are to be replaced."""
    query = (
        select(Script.account_id, Script.name, FunctionCredential.target_id)
        .join(Script, Script.id == FunctionCredential.script_id)
        .where(
            Script.deleted_at.is_(None),
            FunctionCredential.replaced_at.is_(None),
            FunctionCredential.issued_at <= now() - REPLACED_EVERY,
        )
        .distinct()
    )
    return [(row.account_id, row.name, row.target_id) for row in session.execute(query)]


def _newest(target_id: str, version_id: str) -> Select[FunctionCredential]:
    return (
        select(FunctionCredential)
        .where(
            FunctionCredential.target_id == target_id,
            FunctionCredential.version_id == version_id,
            FunctionCredential.replaced_at.is_(None),
        )
        .order_by(FunctionCredential.issued_at.desc())
        .limit(1)
    )
