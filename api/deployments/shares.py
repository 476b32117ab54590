"""Shares: how a deployment divides the requests among versions, and what cannot be divided."""

from collections.abc import Iterable, Sequence

from sqlalchemy.orm import Session

from api.bindings.kinds import callee_of
from api.deployments.models import Deployment
from api.errors import NotSupported, SharesInvalid
from api.objects import service as objects
from api.scripts.models import Script
from api.versions.models import Version
from api.workflows import service as workflows

VERSIONS_MAX = 2
_KEPT = "Nothing was changed."


def check(wanted: Iterable[tuple[str, float]]) -> dict[str, int]:
    """Whole percentages by the version's id. Raises SharesInvalid."""
    pairs = list(wanted)
    if len(pairs) > VERSIONS_MAX:
        raise SharesInvalid(
            f"A deployment has at most {VERSIONS_MAX} versions, and this one names {len(pairs)}. {_KEPT}"
        )
    shares = dict(pairs)
    if len(shares) < len(pairs):
        raise SharesInvalid(f"The same version is named twice. {_KEPT}")
    if any(percentage % 1 for percentage in shares.values()):
        raise SharesInvalid(f"Percentages are whole numbers, for example 33 and 67. {_KEPT}")
    if sum(shares.values()) != 100 or min(shares.values()) < 0:
        raise SharesInvalid(
            f"The percentages of a deployment's versions must add up to 100. {_KEPT}"
        )
    return {version: int(percentage) for version, percentage in shares.items()}


def refuse_one_home(session: Session, script: Script, versions: Sequence[Version]) -> None:
    """Raises NotSupported when two versions are to share the requests of a script that owns storage:
    of that only one process may be open, so a second version could never run beside the first."""
    if len(versions) < VERSIONS_MAX:
        return
    if why := why_whole(session, script, versions):
        raise NotSupported(
            f"{script.name} {why}, and what they store is open in one process at a time, so two versions "
            f"cannot share its requests. {_KEPT} Deploy one version at 100 %."
        )


def why_whole(session: Session, script: Script, versions: Sequence[Version]) -> str:
    """Why all requests of a script go to one version, as the end of a sentence; empty: they need not."""
    if objects.of_script(session, script):
        return "has Durable Objects"
    owned = workflows.owned_by(script.account_id)
    bound = any(
        one.type == workflows.BINDING and not callee_of(one.attributes)
        for version in versions
        for one in version.bindings
    )
    if bound or any(one.script_id == script.id for one in session.scalars(owned)):
        return "has workflows"
    return ""


def split_words(deployment: Deployment | None) -> str:
    """Which versions share the requests, as in `version 4 (90 %) and version 5 (10 %)`; empty when one
    has all of them."""
    found = [(one, share) for one, share in deployment.shares if share] if deployment else []
    words = [f"version {one.number} ({share} %)" for one, share in found]
    return " and ".join(words) if len(words) > 1 else ""
