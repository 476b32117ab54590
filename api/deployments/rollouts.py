"""How a decision reaches its targets: rollouts are made, claimed, recorded and swept.

A node's generation is raised under the lock of its row, so that generations are committed in order
and without gaps: a node that asks for everything newer than its own misses nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, or_, select, update
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session, aliased, contains_eager, joinedload

from api import sealing
from api.accounts.models import Account
from api.clock import now
from api.db import transaction
from api.deployments import homes, slots
from api.deployments.models import Deployment, DeploymentState, Rollout, RolloutState
from api.nodes import authority, homes as node_homes, stores
from api.nodes.models import Node
from api.nodes.service import remove as remove_node
from api.pagination import Listing, Page, paginate
from api.queue import enqueue
from api.scripts.models import Script
from api.settings import settings
from api.targets import service as targets
from api.targets.access import Access
from api.targets.models import LambdaTarget

WAITING = (RolloutState.QUEUED, RolloutState.SENT)
# The pause before a target that did not answer is tried again, in seconds: doubled up to a minute.
PAUSE_FIRST_SECONDS, PAUSE_MAX_SECONDS = 2, 60
SWEEP_AT_MOST = 500
REASON_LENGTH_MAX = 2000
# The hard time limit of a task, and a little.
LAMBDA_PUSH_LOST_AFTER = timedelta(seconds=160)


@dataclass(frozen=True)
class Push:
    """Everything a push needs, read in one transaction and sent in none."""

    rollout_id: str
    target_id: str
    agent_url: str
    server_name: str
    push_key: str
    authority: str
    generation: int
    slot: dict[str, Any]


@dataclass(frozen=True)
class LambdaPush:
    """The same for a Lambda target."""

    rollout_id: str
    target_id: str
    target_name: str
    generation: int
    slot: dict[str, Any]
    access: Access
    role_arn: str
    memory_mib: int
    timeout_seconds: int
    architecture: str
    log_retention_days: int


@dataclass(frozen=True)
class SlotReport:
    """What a node says of one slot."""

    script_id: str
    generation: int
    state: str
    reason: str = ""


def roll_out(session: Session, script: Script, deployment: Deployment | None) -> list[Rollout]:
    """Make the rollouts that bring every node, and every Lambda target that the script has chosen, to
    this deployment, or withdraw the script. What calls a script that has moved to its account's home
    follows it."""
    moved = homes.settle(session, script, deployment)
    rollouts = roll_out_to_nodes(session, script, deployment)
    lambdas = targets.locked(session, script, leaving=deployment is None)
    rollouts += [_roll_out_to(session, target, script, deployment) for target in lambdas]
    for one in moved:
        roll_out_to_nodes(session, one.script, one)
    return rollouts


def roll_out_to_nodes(
    session: Session, script: Script, deployment: Deployment | None
) -> list[Rollout]:
    nodes = session.scalars(
        select(Node)
        .order_by(Node.id)  # always the same order: two deployments never wait for each other
        .with_for_update(of=Node.__table__, key_share=True)
        .execution_options(populate_existing=True)
    )
    return [_roll_out_to(session, node, script, deployment) for node in nodes]


def roll_out_to_lambda(
    session: Session, target: LambdaTarget, script: Script, deployment: Deployment | None
) -> Rollout:
    """Bring one Lambda target to a deployment of the locked script, or withdraw it there alone."""
    session.refresh(target, with_for_update={"of": LambdaTarget.__table__, "key_share": True})
    return _roll_out_to(session, target, script, deployment)


def _roll_out_to(
    session: Session, node: Node | LambdaTarget, script: Script, deployment: Deployment | None
) -> Rollout:
    session.execute(
        update(Rollout)
        .where(
            Rollout.target_id == node.id, Rollout.script_id == script.id, Rollout.state.in_(WAITING)
        )
        .values(state=RolloutState.SUPERSEDED, settled_at=now())
    )
    node.generation += 1
    rollout = Rollout(target=node, script=script, deployment=deployment, generation=node.generation)
    # A moment's grace: the message that is sent right after the commit comes before the sweep.
    rollout.due_at = now() + timedelta(seconds=PAUSE_FIRST_SECONDS)
    session.add(rollout)
    session.flush()  # the task carries its id
    enqueue(session, "rollouts.push", rollout_id=rollout.id)
    return rollout


def catch_up(session: Session, node: Node) -> None:
    """Give a node that has just enrolled everything that is deployed."""
    session.refresh(node, with_for_update=True)
    newest = aliased(Deployment)
    deployments = session.scalars(
        select(Deployment)
        .join(Script, Script.id == Deployment.script_id)
        .where(
            Script.deleted_at.is_(None),
            ~select(newest)
            .where(newest.script_id == Deployment.script_id, newest.number > Deployment.number)
            .exists(),
        )
    )
    for deployment in deployments.all():
        homes.settle(session, deployment.script, deployment)
        _roll_out_to(session, node, deployment.script, deployment)


def forget_node(session: Session, node: Node, *, abandon: bool) -> None:
    """Remove a locked node. Raises Conflict when it has Durable Objects, unless they are abandoned:
    their scripts go to another node then."""
    accounts = node_homes.leave(session, node, abandon=abandon)
    had_data = stores.data_node(session) is node
    remove_node(session, node)
    session.flush()
    if had_data and (heir := stores.data_node(session)):
        catch_up(session, heir)
        data_moved(session, heir)
    for account in accounts:
        at_home = Script.account_id == account.id, Script.at_home, Script.deleted_at.is_(None)
        current = select(Deployment).join(Deployment.script)
        for one in session.scalars(
            current.where(*at_home, Deployment.state != DeploymentState.SUPERSEDED)
        ).all():
            roll_out(session, one.script, one)


def data_moved(session: Session, node: Node) -> None:
    """Tell the other nodes where the data is now, if it is this node that has it."""
    if stores.data_node(session) is node:
        for other in session.scalars(
            select(Node).where(Node.id != node.id).order_by(Node.id)
        ).all():
            catch_up(session, other)


def overtake(session: Session, node: Node, ahead: int) -> bool:
    """Count on from a generation that the node has reached and this control plane never gave.

    That is what a database looks like that was restored to a moment before. Everything deployed is
    rolled out once more with newer generations, and what the node has besides is void.
    """
    session.refresh(node, with_for_update=True)
    if ahead <= node.generation:
        return False
    node.generation = node.base_generation = ahead
    session.flush()  # what follows reads the row anew
    catch_up(session, node)
    return True


def desired(session: Session, node: Node, since: int) -> list[dict[str, Any]]:
    """The slots of a node that changed after generation `since`, in order of generation."""
    query = (
        select(Rollout)
        .where(Rollout.target_id == node.id, Rollout.generation > since, _newest_of_its_script())
        .order_by(Rollout.generation)
    )
    return slots.slots(session, session.scalars(query))


def _newest_of_its_script() -> ColumnElement[bool]:
    newer = aliased(Rollout)
    return ~(
        select(newer)
        .where(
            newer.target_id == Rollout.target_id,
            newer.script_id == Rollout.script_id,
            newer.generation > Rollout.generation,
        )
        .exists()
    )


def unsettled(session: Session, node: Node, account: Account, page: Page) -> Listing[Rollout]:
    """What an account's scripts still wait for on a node, or could not start there; newest first."""
    query = (
        select(Rollout)
        .join(Rollout.script)
        .where(
            Rollout.target_id == node.id,
            Script.account_id == account.id,
            Rollout.state.in_((*WAITING, RolloutState.FAILED)),
            _newest_of_its_script(),
        )
        .options(contains_eager(Rollout.script), joinedload(Rollout.deployment))
        .order_by(Rollout.generation.desc())
    )
    return paginate(session, query, page)


# --- claiming and recording -------------------------------------------------------------------


def claim(session: Session, rollout_id: str) -> Push | LambdaPush | None:
    """Take a rollout for pushing; None when it is settled or somebody else pushes it."""
    moment = now()
    claimed = session.scalar(
        update(Rollout)
        .where(
            Rollout.id == rollout_id,
            or_(
                Rollout.state == RolloutState.QUEUED,
                and_(Rollout.state == RolloutState.SENT, Rollout.due_at < moment),
            ),
        )
        .values(
            state=RolloutState.SENT,
            attempts=Rollout.attempts + 1,
            due_at=moment + timedelta(seconds=settings().push_lost_after_seconds),
        )
        .returning(Rollout.id)
    )
    if claimed is None:
        return None
    rollout = session.get_one(Rollout, rollout_id)
    if isinstance(rollout.target, LambdaTarget):
        rollout.due_at = moment + LAMBDA_PUSH_LOST_AFTER
        return _lambda_push(session, rollout, rollout.target)
    node = session.get_one(Node, rollout.target_id)
    return Push(
        rollout_id=rollout.id,
        target_id=node.id,
        agent_url=node.agent_url,
        server_name=authority.node_name(node.id),
        push_key=sealing.unseal(node.sealed_push_key),
        authority=authority.ensure(session).certificate,
        generation=node.generation,
        slot=slots.slot(session, rollout),
    )


def placed(session: Session) -> list[LambdaPush]:
    """What each Lambda target should have, for whoever looks whether it still does."""
    query = (
        select(Rollout)
        .join(LambdaTarget, LambdaTarget.id == Rollout.target_id)
        .where(
            Rollout.state == RolloutState.ACKNOWLEDGED,
            Rollout.deployment_id.is_not(None),
            _newest_of_its_script(),
        )
    )
    return [
        _lambda_push(session, rollout, rollout.target)
        for rollout in session.scalars(query)
        if isinstance(rollout.target, LambdaTarget)
    ]


def _lambda_push(session: Session, rollout: Rollout, target: LambdaTarget) -> LambdaPush:
    return LambdaPush(
        rollout_id=rollout.id,
        target_id=target.id,
        target_name=target.name,
        generation=rollout.generation,
        slot=slots.slot(session, rollout),
        access=Access.of(target),
        role_arn=target.role_arn,
        memory_mib=target.memory_mib,
        timeout_seconds=target.timeout_seconds,
        architecture=target.architecture,
        log_retention_days=target.log_retention_days,
    )


def put_back(session: Session, rollout_id: str, reason: str) -> None:
    """A push did not arrive: the rollout waits, and the node's own pull may come first.

    `reason` is a sentence for people; how long the pause takes is added.
    """
    rollout = _locked(session, rollout_id)
    if rollout is None or rollout.state != RolloutState.SENT:
        return
    pause = min(PAUSE_FIRST_SECONDS * 2 ** (rollout.attempts - 1), PAUSE_MAX_SECONDS)
    rollout.state = RolloutState.QUEUED
    rollout.reason = f"{reason[:REASON_LENGTH_MAX]} It is tried again in {pause} s."
    rollout.due_at = now() + timedelta(seconds=pause)


def _locked(session: Session, rollout_id: str) -> Rollout | None:
    """The rollout with its own row locked, and nothing of the target it is joined with."""
    return session.scalar(
        select(Rollout)
        .where(Rollout.id == rollout_id)
        .with_for_update(of=Rollout, key_share=True)
        .execution_options(populate_existing=True)
    )


def record(target_id: str, reports: Iterable[SlotReport]) -> None:
    """Settle the rollouts that a node reports on. Reports may come twice and in any order.

    Opens a transaction for each: a deployment locks rows in the order deployment, node, rollout,
    and whoever held several rollouts at once could wait for it in a circle.
    """
    for report in reports:
        with transaction() as session:
            record_one(session, target_id, report)


def record_one(session: Session, target_id: str, report: SlotReport) -> None:
    """Settle one rollout, and its deployment with it."""
    found = session.execute(
        select(Rollout.id, Rollout.deployment_id).where(
            Rollout.target_id == target_id,
            Rollout.script_id == report.script_id,
            Rollout.generation == report.generation,
        )
    ).one_or_none()
    if found is None:
        return
    # The deployment's row first: two nodes that report at once must see each other's result.
    deployment = (
        session.get(Deployment, found.deployment_id, with_for_update={"key_share": True})
        if found.deployment_id
        else None
    )
    rollout = _locked(session, found.id)
    if rollout is None or rollout.state == RolloutState.SUPERSEDED:
        return
    failed = report.state == "failed"
    rollout.state = RolloutState.FAILED if failed else RolloutState.ACKNOWLEDGED
    rollout.reason = report.reason[:REASON_LENGTH_MAX] if failed else ""
    rollout.settled_at = now()
    session.flush()
    if deployment is not None:
        _settle(session, deployment)


def _settle(session: Session, deployment: Deployment) -> None:
    if deployment.state == DeploymentState.SUPERSEDED:
        return
    states = {rollout.state for rollout in of_deployment(session, deployment.id)}
    if RolloutState.FAILED in states:
        deployment.state = DeploymentState.FAILED
    elif RolloutState.ACKNOWLEDGED in states:
        deployment.state = DeploymentState.LIVE


def of_deployment(session: Session, deployment_id: str) -> list[Rollout]:
    """The newest rollout of a deployment on each target, by the target's name."""
    return _newest(session, Rollout.deployment_id == deployment_id)


def on_its_way(rollout: Rollout) -> bool:
    """Whether an answer is to be expected soon: a node that is away is not waited for."""
    away = isinstance(rollout.target, Node) and rollout.target.away
    return rollout.state in WAITING and not away


def newest_of(session: Session, script: Script) -> list[Rollout]:
    """The newest rollout of a script on each target: what that target should have."""
    return _newest(session, Rollout.script_id == script.id)


def of_withdrawal(session: Session, script_id: str) -> list[Rollout]:
    """The rollouts that withdraw a deleted script."""
    return _newest(session, Rollout.script_id == script_id, Rollout.deployment_id.is_(None))


def _newest(session: Session, *conditions: ColumnElement[bool]) -> list[Rollout]:
    newest = (
        select(Rollout)
        .where(*conditions)
        .ext(distinct_on(Rollout.target_id))
        .order_by(Rollout.target_id, Rollout.generation.desc())
        .execution_options(populate_existing=True)
    )
    return sorted(session.scalars(newest), key=lambda rollout: rollout.target.name)


def waiting_too_long(session: Session) -> list[str]:
    """Ids of rollouts that are due: never sent, put back, or claimed by a push that was lost."""
    return list(
        session.scalars(
            select(Rollout.id)
            .where(Rollout.state.in_(WAITING), Rollout.due_at < now())
            .order_by(Rollout.due_at)
            .limit(SWEEP_AT_MOST)
        )
    )
