"""Where else: Lambda targets are added, chosen by scripts and removed."""

import re
from collections.abc import Collection, Iterable

from sqlalchemy import delete, exists, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from api import ids, sealing
from api.clock import now
from api.errors import AlreadyExists, BodyInvalid, Conflict, NotFound
from api.nodes.models import Target
from api.scripts.models import Script
from api.targets.models import ChosenTarget, LambdaFunction, LambdaTarget
from api.targets.schemas import TargetIn

NAME_LENGTH_MAX = 63
ARCHITECTURES = ("arm64", "x86_64")
# Lambda's own limits.
MEMORY_MIB = (128, 10240)
TIMEOUT_SECONDS = (1, 900)
# What CloudWatch Logs knows.
RETENTION_DAYS = (1, 3, 5, 7, 14, 30, 60, 90, 180, 365)
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+")
_KEY_ID = re.compile(r"[A-Z0-9]{16,128}")


def of_account(session: Session, account_id: str) -> list[LambdaTarget]:
    query = select(LambdaTarget).where(LambdaTarget.account_id == account_id)
    return list(session.scalars(query.order_by(LambdaTarget.name)))


def get(session: Session, account_id: str, target_id: str) -> LambdaTarget:
    found = session.scalar(
        select(LambdaTarget).where(
            LambdaTarget.account_id == account_id, LambdaTarget.id == target_id
        )
    )
    if found is None:
        raise NotFound("There is no such target on this account.")
    return found


def complaints(wanted: TargetIn) -> dict[str, str]:
    """What is wrong, by field."""
    found = {
        "name": ""
        if wanted.name.strip() and len(wanted.name) <= NAME_LENGTH_MAX and wanted.name.isprintable()
        else f"A target has a name of 1 to {NAME_LENGTH_MAX} printable characters.",
        "region": "" if _REGION.fullmatch(wanted.region) else "A region looks like eu-central-1.",
        "role_arn": _role(wanted.role_arn),
        "access_role_arn": _role(wanted.access_role_arn) if wanted.access_role_arn else "",
        "access_key_id": _key(wanted),
        "memory_mib": _within("The memory", wanted.memory_mib, MEMORY_MIB),
        "timeout_seconds": _within("The timeout", wanted.timeout_seconds, TIMEOUT_SECONDS),
        "architecture": _among(wanted.architecture, ARCHITECTURES),
        "log_retention_days": _among(wanted.log_retention_days, RETENTION_DAYS),
    }
    return {field: sentence for field, sentence in found.items() if sentence}


def _role(arn: str) -> str:
    fits = _ROLE.fullmatch(arn)
    return "" if fits else "A role looks like arn:aws:iam::123456789012:role/name."


def _key(wanted: TargetIn) -> str:
    if bool(wanted.access_key_id) != bool(wanted.secret_access_key):
        return "An access key has an id and a secret: give both or neither."
    if wanted.access_key_id and not _KEY_ID.fullmatch(wanted.access_key_id):
        return "The id of an access key has capital letters and digits, as AKIA…."
    return ""


def _within(what: str, number: int, limits: tuple[int, int]) -> str:
    least, most = limits
    return "" if least <= number <= most else f"{what} is from {least} to {most:,}."


def _among(value: object, known: Iterable[object]) -> str:
    known = tuple(known)
    return "" if value in known else f"Choose one of {', '.join(str(one) for one in known)}."


def add(session: Session, account_id: str, wanted: TargetIn) -> LambdaTarget:
    """Raises BodyInvalid for what AWS would never take, and AlreadyExists for a name in use."""
    if found := complaints(wanted):
        raise BodyInvalid(" ".join(found.values()))
    if session.scalar(select(exists().where(Target.name == wanted.name))):
        raise AlreadyExists(f"There is a target called {wanted.name} already.")
    values = wanted.model_dump(exclude={"secret_access_key"})
    secret = wanted.secret_access_key
    target = LambdaTarget(
        **values,
        account_id=account_id,
        external_id=ids.secret("skx_"),
        sealed_secret=sealing.seal(secret) if secret else None,
    )
    session.add(target)
    session.flush()
    return target


def remove(session: Session, account_id: str, target_id: str) -> LambdaTarget:
    """Forget a target. Raises Conflict while a function of Skerry's may be there."""
    target = get(session, account_id, target_id)
    used = select(Script.name).where(
        or_(
            exists().where(
                ChosenTarget.script_id == Script.id, ChosenTarget.target_id == target.id
            ),
            exists().where(
                LambdaFunction.script_id == Script.id, LambdaFunction.target_id == target.id
            ),
        )
    )
    if names := sorted(session.scalars(used)):
        raise Conflict(
            f"{target.name} still has {', '.join(names[:5])}. Nothing was changed. Take the Workers off "
            "it first, so that their functions are deleted in AWS."
        )
    session.delete(target)
    return target


# --- which scripts go there -------------------------------------------------------------------


def chosen(session: Session, script: Script) -> list[LambdaTarget]:
    query = select(LambdaTarget).join(ChosenTarget, ChosenTarget.target_id == LambdaTarget.id)
    return list(
        session.scalars(
            query.where(ChosenTarget.script_id == script.id).order_by(LambdaTarget.name)
        )
    )


def choose(session: Session, script: Script, target: LambdaTarget) -> None:
    values = {"script_id": script.id, "target_id": target.id}
    session.execute(insert(ChosenTarget).values(values).on_conflict_do_nothing())


def leave(session: Session, script: Script, target: LambdaTarget) -> None:
    session.execute(
        delete(ChosenTarget).where(
            ChosenTarget.script_id == script.id, ChosenTarget.target_id == target.id
        )
    )


def locked(session: Session, script: Script, *, leaving: bool) -> list[LambdaTarget]:
    """The targets that have to hear of a change of the script, always locked in the same order."""
    is_chosen = exists().where(
        ChosenTarget.script_id == script.id, ChosenTarget.target_id == LambdaTarget.id
    )
    has_function = exists().where(
        LambdaFunction.script_id == script.id, LambdaFunction.target_id == LambdaTarget.id
    )
    where = or_(is_chosen, has_function) if leaving else is_chosen
    query = select(LambdaTarget).where(where).order_by(LambdaTarget.id)
    return list(
        session.scalars(
            query.with_for_update(of=LambdaTarget.__table__, key_share=True).execution_options(
                populate_existing=True
            )
        )
    )


# --- what is there ----------------------------------------------------------------------------


def functions(session: Session, script: Script) -> dict[str, LambdaFunction]:
    """What is known of the script's functions, by target."""
    query = select(LambdaFunction).where(LambdaFunction.script_id == script.id)
    return {found.target_id: found for found in session.scalars(query)}


def placed(session: Session, target_id: str, script_id: str, name: str, url: str) -> bool:
    """Note what a push has made; says whether it is somewhere else than before."""
    before = session.get(LambdaFunction, (target_id, script_id))
    moved = before is None or before.url != url
    values = {"name": name, "url": url, "drift": "", "pushed_at": now(), "looked_at": now()}
    session.execute(
        insert(LambdaFunction)
        .values(target_id=target_id, script_id=script_id, **values)
        .on_conflict_do_update(index_elements=["target_id", "script_id"], set_=values)
    )
    return moved


def backups(session: Session, script_ids: Collection[str]) -> dict[str, dict[str, str]]:
    """What a node's front is told of functions that answer while the node cannot, by script."""
    query = (
        select(LambdaFunction.script_id, LambdaFunction.url)
        .join(
            ChosenTarget,
            (ChosenTarget.script_id == LambdaFunction.script_id)
            & (ChosenTarget.target_id == LambdaFunction.target_id),
        )
        .where(LambdaFunction.script_id.in_(script_ids), LambdaFunction.url != "")
        .order_by(LambdaFunction.target_id)
    )
    found: dict[str, dict[str, str]] = {}
    for script_id, url in session.execute(query):
        found.setdefault(script_id, {"url": url, "secret": front_secret(script_id)})
    return found


def front_secret(script_id: str) -> str:
    """By which a function knows a request that the front of a node has passed on; always the same."""
    return sealing.sign(f"front {script_id}").hex()


def withdrawn(session: Session, target_id: str, script_id: str) -> None:
    session.execute(
        delete(LambdaFunction).where(
            LambdaFunction.target_id == target_id, LambdaFunction.script_id == script_id
        )
    )


def looked(session: Session, target_id: str, script_id: str, drift: list[str]) -> None:
    """Note what differs from the last push."""
    found = session.get(LambdaFunction, (target_id, script_id))
    if found is not None:
        found.drift, found.looked_at = "\n".join(drift), now()
