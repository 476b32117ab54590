"""Cron triggers: which there are, when they occur, and what came of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from api import ids, sealing
from api.clock import now
from api.crons import expression
from api.crons.models import CronRun, CronTrigger, RunState
from api.deployments import service as deployments
from api.errors import CronInvalid, NotFound, ScheduleImpossible
from api.nodes import authority
from api.nodes.models import Node
from api.pagination import Listing, Page, paginate
from api.queue import enqueue
from api.scripts.models import Script

TRIGGERS_MAX = 100
# An occurrence that is sent this long after its time was missed: everything was down.
LATE_AFTER = timedelta(seconds=60)
# A message that got lost; and the longest a handler may run on Cloudflare, with a margin.
NUDGE_AFTER, LOST_AFTER = timedelta(seconds=10), timedelta(minutes=16)
SENDING_MAX = timedelta(seconds=60)
RETRY_AFTER = timedelta(seconds=5)
KEPT_FOR = timedelta(days=30)
FIRE_AT_MOST = 500
LOG_LINES_MAX, REASON_LENGTH_MAX = 200, 2000


@dataclass(frozen=True)
class Delivery:
    """Everything that a node has to be told of a run."""

    run_id: str
    script_id: str
    cron: str
    scheduled_at: datetime
    nodes: list["Address"]
    """Those that should have the script, in the order in which to ask them."""


@dataclass(frozen=True)
class Address:
    name: str
    agent_url: str
    server_name: str
    push_key: str
    authority: str


@dataclass(frozen=True)
class Outcome:
    """What a node says of a run."""

    run_id: str
    outcome: str
    duration_ms: int
    reason: str
    logs: list[str]


def triggers(session: Session, script: Script) -> list[CronTrigger]:
    query = select(CronTrigger).where(CronTrigger.script_id == script.id)
    return list(session.scalars(query.order_by(CronTrigger.position)))


def replace_triggers(session: Session, script: Script, crons: list[str]) -> list[CronTrigger]:
    """Exactly these triggers from now on; those that stay keep their time. Raises CronInvalid."""
    if len(crons) > TRIGGERS_MAX:
        raise CronInvalid(f"{len(crons)} cron triggers are too many: at most {TRIGGERS_MAX}.")
    for cron in crons:
        _read(cron)
        if crons.count(cron) > 1:
            raise CronInvalid(f"The cron trigger {cron!r} is listed twice. Nothing was changed.")
    before = {trigger.cron: trigger for trigger in triggers(session, script)}
    gone = [trigger.id for cron, trigger in before.items() if cron not in crons]
    session.execute(delete(CronTrigger).where(CronTrigger.id.in_(gone)))
    for position, cron in enumerate(crons):
        if cron in before:
            before[cron].position = position
            continue
        session.add(
            CronTrigger(
                script=script, cron=cron, position=position, next_at=_read(cron).next(now())
            )
        )
    session.flush()
    return triggers(session, script)


def coming(cron: str, count: int) -> list[datetime]:
    """The next occurrences of a stored expression."""
    return _read(cron).coming(now(), count)


def _read(cron: str) -> expression.Expression:
    try:
        return expression.read(cron)
    except expression.CronError as error:
        raise CronInvalid(
            f"The cron trigger {cron[:200]!r} cannot be used: {error}. Nothing was changed."
        ) from error


def delete_all(session: Session, script: Script) -> None:
    """Of a script that is deleted."""
    session.execute(delete(CronTrigger).where(CronTrigger.script_id == script.id))
    session.execute(delete(CronRun).where(CronRun.script_id == script.id))


# --- firing -----------------------------------------------------------------------------------


def fire(session: Session) -> int:
    """Make a run of every trigger that is due, one of each however often it was missed; gives their
    number. Any number of schedulers may do this at once."""
    moment = now()
    due = session.scalars(
        select(CronTrigger)
        .where(CronTrigger.next_at <= moment)
        .order_by(CronTrigger.next_at)
        .limit(FIRE_AT_MOST)
        .with_for_update(of=CronTrigger.__table__, skip_locked=True)
    ).all()
    for trigger in due:
        _fire(session, trigger, moment)
    return len(due)


def _fire(session: Session, trigger: CronTrigger, moment: datetime) -> None:
    occurrence = trigger.next_at
    if occurrence is None:
        return
    run_id = session.scalar(
        insert(CronRun)
        .values(
            id=ids.hex32(),
            script_id=trigger.script_id,
            cron=trigger.cron,
            scheduled_at=occurrence,
            manual=False,
            late=moment - occurrence > LATE_AFTER,
            state=RunState.QUEUED,
            due_at=moment + NUDGE_AFTER,
            node_name="",
            outcome="",
            reason="",
            logs=[],
        )
        .on_conflict_do_nothing()
        .returning(CronRun.id)
    )
    trigger.next_at = _read(trigger.cron).next(moment)
    if run_id:
        enqueue(session, "crons.run", run_id=run_id)


def run_now(session: Session, script: Script, cron: str) -> CronRun:
    """Call the handler now as this trigger would; raises NotFound or ScheduleImpossible."""
    if cron not in {trigger.cron for trigger in triggers(session, script)}:
        raise NotFound(f"{script.name} has no cron trigger {cron[:200]!r}.")
    if deployments.current(session, script) is None:
        raise ScheduleImpossible(f"{script.name} is not deployed, so nothing can run.")
    run = CronRun(
        script_id=script.id,
        cron=cron,
        scheduled_at=now(),
        manual=True,
        due_at=now() + NUDGE_AFTER,
    )
    session.add(run)
    session.flush()
    enqueue(session, "crons.run", run_id=run.id)
    return run


def claim(session: Session, run_id: str) -> Delivery | None:
    """Take a run for sending; None when somebody else has, or when it has no script any more."""
    claimed = session.scalar(
        update(CronRun)
        .where(CronRun.id == run_id, CronRun.state == RunState.QUEUED)
        .values(state=RunState.SENT, due_at=now() + SENDING_MAX)
        .returning(CronRun.id)
    )
    if claimed is None:
        return None
    run = session.get_one(CronRun, run_id)
    script = session.get_one(Script, run.script_id)
    deployment = deployments.current(session, script)
    if deployment is None:
        _finish(run, "canceled", "The Worker is not deployed.")
        return None
    authority_pem = authority.ensure(session).certificate
    rollouts = deployments.rollouts(session, deployment)
    # Those that said they have it first; of them, those that were heard of last.
    targets = [one for one in rollouts if isinstance(one.target, Node) and not one.target.away]
    targets.sort(key=lambda one: one.state != "acknowledged")
    if script.home_id:
        targets = [one for one in targets if one.target_id == script.home_id]
    nodes = [
        Address(
            name=node.name,
            agent_url=node.agent_url,
            server_name=authority.node_name(node.id),
            push_key=sealing.unseal(node.sealed_push_key),
            authority=authority_pem,
        )
        for node in (one.target for one in targets)
        if isinstance(node, Node)
    ]
    return Delivery(run.id, script.id, run.cron, run.scheduled_at, nodes)


def put_back(session: Session, run_id: str, reason: str) -> None:
    """No node took it: it is tried again until one does, and is late then."""
    session.execute(
        update(CronRun)
        .where(CronRun.id == run_id, CronRun.state == RunState.SENT)
        .values(
            state=RunState.QUEUED, due_at=now() + RETRY_AFTER, reason=reason[:REASON_LENGTH_MAX]
        )
    )


def taken(session: Session, run_id: str, node_name: str) -> None:
    """A node has it: it runs, and the node says how it ended."""
    run = session.get(CronRun, run_id, with_for_update=True)
    if run and run.state != RunState.FINISHED:
        run.state, run.node_name, run.reason = RunState.RUNNING, node_name, ""
        run.late = not run.manual and now() - run.scheduled_at > LATE_AFTER
        run.due_at = now() + LOST_AFTER


def record(session: Session, outcomes: Iterable[Outcome]) -> None:
    """What a node reports; reports may come twice."""
    for one in outcomes:
        run = session.get(CronRun, one.run_id, with_for_update=True)
        if run and run.state != RunState.FINISHED:
            run.logs = one.logs[:LOG_LINES_MAX]
            run.duration_ms = one.duration_ms
            _finish(run, one.outcome, one.reason)


def _finish(run: CronRun, outcome: str, reason: str) -> None:
    run.state, run.outcome, run.finished_at = RunState.FINISHED, outcome, now()
    run.reason = reason[:REASON_LENGTH_MAX]


def sweep(session: Session) -> None:
    """Nudge runs whose message was lost, and give up those that nobody speaks of any more: they may
    have run, so they are not sent again."""
    moment = now()
    waiting = session.scalars(
        select(CronRun.id).where(CronRun.state == RunState.QUEUED, CronRun.due_at < moment)
    )
    for run_id in waiting:
        enqueue(session, "crons.run", run_id=run_id)
    session.execute(
        update(CronRun)
        .where(
            or_(CronRun.state == RunState.SENT, CronRun.state == RunState.RUNNING),
            CronRun.due_at < moment,
        )
        .values(
            state=RunState.FINISHED,
            outcome="unknown",
            finished_at=moment,
            reason="Whoever ran it never said how it ended.",
        )
    )


def prune(session: Session) -> None:
    session.execute(delete(CronRun).where(CronRun.scheduled_at < now() - KEPT_FOR))


def page_of_runs(session: Session, script: Script, page: Page) -> Listing[CronRun]:
    """What ran, newest first."""
    query = select(CronRun).where(CronRun.script_id == script.id)
    return paginate(session, query.order_by(CronRun.scheduled_at.desc(), CronRun.id), page)
