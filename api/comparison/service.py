"""One script, two kinds of targets: what would differ on AWS Lambda, and what it would cost."""

from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api.clock import now
from api.crons import service as crons
from api.deployments import service as deployments
from api.invocations.models import rollups
from api.scripts.models import Script
from api.targets import parity
from api.targets.costs import Traffic
from api.versions import service as versions
from api.versions.models import Version

MONTH = timedelta(days=30)
_WORSE = (parity.Verdict.SAME, parity.Verdict.DIFFERENT, parity.Verdict.IMPOSSIBLE)


def _versions_of(session: Session, script: Script) -> list[Version]:
    """The versions that a target would get: the deployed ones, else the latest."""
    if deployment := deployments.current(session, script):
        return [version for version, _ in deployment.shares]
    latest = versions.latest(session, script)
    return [latest] if latest else []


def report(session: Session, script: Script) -> list[parity.Line]:
    """Nothing for a script without a version. Of two versions the worse word on each thing counts."""
    triggers = [trigger.cron for trigger in crons.triggers(session, script)]
    worst: dict[tuple[str, str], parity.Line] = {}
    for version in _versions_of(session, script):
        for line in parity.report(version, triggers):
            found = worst.setdefault((line.kind, line.name), line)
            if _WORSE.index(line.verdict) > _WORSE.index(found.verdict):
                worst[line.kind, line.name] = line
    return list(worst.values())


def traffic(session: Session, script: Script) -> Traffic:
    """What the script's nodes measured in the last 30 days."""
    row = session.execute(
        select(
            func.coalesce(func.sum(rollups.c.requests), 0),
            func.coalesce(func.sum(rollups.c.duration_us), 0),
            func.coalesce(func.sum(rollups.c.bytes_out), 0),
        ).where(rollups.c.script_id == script.id, rollups.c.minute >= now() - MONTH)
    ).one()
    requests, duration_us, bytes_out = (int(number) for number in row)
    return Traffic(requests, duration_us / 1000, bytes_out)
