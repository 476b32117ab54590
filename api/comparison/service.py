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


def version_of(session: Session, script: Script) -> Version | None:
    """The version that a target would get: the deployed one, else the latest."""
    deployment = deployments.current(session, script)
    return deployment.shares[0][0] if deployment else versions.latest(session, script)


def report(session: Session, script: Script) -> list[parity.Line]:
    """Nothing for a script without a version."""
    version = version_of(session, script)
    if version is None:
        return []
    return parity.report(version, [trigger.cron for trigger in crons.triggers(session, script)])


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
