"""Why a request went where it went: everything that is known of one, by its Ray id."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from api.accounts.models import Account
from api.clock import iso
from api.deployments import service as deployments
from api.deployments.models import Deployment
from api.errors import NotFound
from api.invocations.models import invocations
from api.logs.models import log_events
from api.logs.showing import event
from api.nodes import service as nodes
from api.rays.subrequests import Subrequests, of_events
from api.scripts import urls
from api.scripts.models import Script
from api.scripts.observability import Observed
from api.versions.models import Version
from api.zones import leading
from api.zones.models import CustomDomain, Route

RAY = re.compile(r"([0-9a-f]{16})(-[A-Za-z0-9_-]*)?")
EVENTS_MAX = 1000
# Of the invocation around its request: `waitUntil` may go on after it.
AROUND = timedelta(hours=1)
OUTCOMES = {
    "ok": "The Worker answered, with whatever status.",
    "exception": "The Worker threw, and the front answered with the page 1101.",
    "exceeded_cpu": "Its cell was killed because it used more CPU than it may: page 1102.",
    "exceeded_memory": "Its cell was killed because it used more memory than it may: page 1102.",
    "canceled": "The visitor left before the answer was complete.",
    "unavailable": "The Worker could not be started, or the request waited too long for it: 503.",
    "unknown": "The cell ended, and no limit of Skerry's did that.",
}


@dataclass(frozen=True)
class Explanation:
    """One request. Times are in milliseconds; what is not known is None."""

    record: Row[Any]
    script: Script | None
    version: Version | None
    version_why: str
    deployment: Deployment | None
    route_why: str
    node_name: str | None
    start_why: str
    outcome_why: str
    times: dict[str, float | None]
    events: list[Row[Any]]
    logs_why: str
    subrequests: Subrequests

    def as_json(self) -> dict[str, Any]:
        one = self.record
        return {
            "ray_id": one.ray,
            "at": iso(one.at),
            "request": {
                "method": one.method,
                "host": one.host,
                "path": one.path,
                "status": one.status,
                "ingress_bytes": one.bytes_in,
                "egress_bytes": one.bytes_out,
            },
            "route": {"hostname": one.host, "why": self.route_why},
            "script": {"id": one.script_id, "name": self.script.name if self.script else None},
            "version": {
                "id": one.version_id,
                "number": self.version.number if self.version else None,
                "deployment_id": self.deployment.id if self.deployment else None,
                "why": self.version_why,
            },
            "node": {"id": one.node_id, "name": self.node_name},
            "start": {"cold": one.cold, "why": self.start_why},
            "times_ms": self.times,
            "outcome": {"name": one.outcome, "why": self.outcome_why},
            "subrequests": self.subrequests.as_json(),
            "logs": {"why": self.logs_why, "events": [event(row) for row in self.events]},
        }


def ray_of(text: str) -> str | None:
    """The Ray id in what was typed, as the header CF-Ray has it or without its end."""
    found = RAY.fullmatch(text.strip().lower())
    return found[1] if found else None


def explain(session: Session, account: Account, text: str) -> Explanation:
    """Raises NotFound, for a stranger's request too."""
    ray = ray_of(text)
    record = _record(session, account, ray) if ray else None
    if record is None:
        raise NotFound(
            "No request of this account has this Ray id. It is the header CF-Ray of the answer: 16 "
            "digits, then a dash and the node. A request is recorded a second or two after it ended, "
            "and kept for some days; those for host names without a Worker are not recorded, and of a very "
            "busy Worker without stored logs only some are (SKERRY_SCRIPT_RECORDS_SECOND)."
        )
    script = session.get(Script, record.script_id)
    version = session.get(Version, record.version_id)
    deployment = _deployment_at(session, script, record.at) if script else None
    events = _events(session, account, record)
    asked = version.options.get("observability") if version else None
    observed = script.observed(asked) if script else None
    logs_why = _logs_why(observed, bool(events))
    names = {node.id: node.name for node in nodes.list_nodes(session)}
    return Explanation(
        record=record,
        script=script,
        version=version,
        version_why=_version_why(deployment, record.version_id),
        deployment=deployment,
        route_why=_route_why(session, account, script, record),
        node_name=names.get(record.node_id),
        start_why=_start_why(record),
        outcome_why=OUTCOMES.get(record.outcome, record.outcome),
        times=_times(record),
        events=events,
        logs_why=logs_why,
        subrequests=of_events(
            events, record.at, logs_why, traced=observed is not None and observed.subrequests
        ),
    )


def _record(session: Session, account: Account, ray: str) -> Row[Any] | None:
    of = invocations.c
    query = select(invocations).where(of.ray == ray, of.account_id == account.id)
    return session.execute(query.order_by(of.at.desc()).limit(1)).first()


def _deployment_at(session: Session, script: Script, at: datetime) -> Deployment | None:
    """The one that was decided last when the request came."""
    query = deployments.of_script(script).where(Deployment.created_at <= at)
    return session.scalar(query.limit(1))


def _version_why(deployment: Deployment | None, version_id: str) -> str:
    if deployment is None:
        return "The deployment of that time is gone."
    shares = {version.id: percentage for version, percentage in deployment.shares}
    by = f"deployment {deployment.number} of {iso(deployment.created_at)[:19]} UTC"
    by += f" by {deployment.author_email}" if deployment.author_email else ""
    if version_id not in shares:
        return (
            f"It belongs to an earlier deployment than {by}, which the node had not carried out yet, "
            "or could not."
        )
    if len(shares) == 1:
        return f"It is the only version of {by}."
    if not shares[version_id]:
        return (
            f"It has 0 % of the requests by {by}: the header Cloudflare-Workers-Version-Overrides asked "
            "for it."
        )
    return (
        f"It has {shares[version_id]} % of the requests by {by}. The request's header "
        "Cloudflare-Workers-Version-Overrides decides, else a hash of Cloudflare-Workers-Version-Key, "
        "else chance."
    )


def _route_why(session: Session, account: Account, script: Script | None, record: Row[Any]) -> str:
    """By what leads there now: what did then is not kept."""
    name = script.name if script else "a Worker that is gone"
    if script and record.host == urls.hostname(script):
        return f"The host name is the live URL of {name}."
    found = leading.answering(session, account, record.host, record.path)
    if not found:
        return f"The host name led to {name} then."
    said = "The " + "; the ".join(_leads(one) for one in found)
    same = any(one.script_id == record.script_id for one in found)
    return f"{said}." if same else f"{said} now. Then it led to {name}."


def _leads(one: Route | CustomDomain) -> str:
    if isinstance(one, Route):
        return f"route {one.pattern} leads to {one.script.name}"
    return f"host name is a custom domain of {one.script.name}"


def _start_why(record: Row[Any]) -> str:
    if not record.cold:
        return "Its process ran already."
    if not record.start_us:
        return "It waited for the Worker's process to start."
    return f"It waited for the Worker's process, whose start took {record.start_us / 1000:.0f} ms."


def _times(record: Row[Any]) -> dict[str, float | None]:
    total = record.duration_us
    front, cell = record.front_us, record.cell_us
    known = front is not None and cell is not None
    return {
        "total": total / 1000,
        "front": front / 1000 if known else None,
        "cell": cell / 1000 if known else None,
        "transfer": max(total - front - cell, 0) / 1000 if known else None,
        "start": record.start_us / 1000 if record.start_us is not None else None,
    }


def _events(session: Session, account: Account, record: Row[Any]) -> list[Row[Any]]:
    of = log_events.c
    query = select(log_events).where(
        of.ray == record.ray,
        of.account_id == account.id,
        of.at.between(record.at - AROUND, record.at + AROUND),
    )
    return list(session.execute(query.order_by(of.number).limit(EVENTS_MAX)))


def _logs_why(observed: Observed | None, stored: bool) -> str:
    if stored:
        return ""
    if observed is None:
        return (
            'Nothing of it was stored: the Worker\'s configuration has no `"observability": '
            '{ "enabled": true }`.'
        )
    if observed.rate < 1:
        return f"Nothing of it was stored: {observed.rate:.4g} of the invocations are."
    return "Nothing of it was stored (yet): it printed nothing, or ended a moment ago."
