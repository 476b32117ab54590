"""The real Celery worker and beat against a real broker: nothing is lost when one of them dies."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from sqlalchemy import Engine, delete, select

from api import health
from api.accounts import service as accounts
from api.accounts.actor import Actor
from api.accounts.models import Account
from api.clock import now
from api.db import SessionFactory, transaction
from api.deployments import flows
from api.deployments.models import Deployment, Rollout
from api.versions.bundle import Upload, UploadedModule
from api.zones.models import Zone
from tests.conftest import ROOT
from tests.names import name_server
from tests.worker.agent import Agent

SOURCE = b"export default { fetch() { return new Response('hi') } }"


@pytest.fixture
def account(committed: Engine, broker: redis.Redis) -> Iterator[Account]:
    SessionFactory.configure(bind=committed, join_transaction_mode="conditional_savepoint")
    with transaction() as session:
        account = accounts.bootstrap(session)
    yield account
    SessionFactory.configure(bind=None)


@pytest.fixture
def agent(account: Account, tmp_path: Path) -> Iterator[Agent]:
    with SessionFactory() as session:
        agent = Agent(session, f"edge-{time.time_ns()}", tmp_path)
    yield agent
    agent.stop()
    with transaction() as session:
        session.execute(delete(Rollout).where(Rollout.target_id == agent.enrolment.node.id))
        session.delete(session.merge(agent.enrolment.node))


@contextmanager
def _process(
    committed: Engine,
    *arguments: str,
    application: str = "worker.app",
    settings: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    environment = {
        **os.environ,
        "DATABASE_URL": committed.url.render_as_string(hide_password=False),
        "SKERRY_PUSH_LOST_AFTER_SECONDS": "2",
        "SKERRY_SWEEP_EVERY_SECONDS": "1",
        **(settings or {}),
    }
    command = [sys.executable, "-m", "celery", "-A", application, *arguments]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _beat(committed: Engine, folder: Path):  # type: ignore[no-untyped-def]
    arguments = ("beat", "-s", str(folder / "beat"), "--loglevel=INFO")
    return _process(committed, *arguments, application="worker.clock")


def _worker(committed: Engine, **settings: str):  # type: ignore[no-untyped-def]
    arguments = ("worker", "-Q", "push,default", "-c", "2", "--loglevel=INFO")
    return _process(committed, *arguments, settings=settings)


def _deploy(account: Account) -> str:
    upload = Upload(
        "i.js", [UploadedModule("i.js", "esm", SOURCE)], compatibility_date="2026-01-01"
    )
    actor = Actor(account.id, "a@example.org", "0" * 32, "api")
    deployed = flows.upload_and_deploy(account.id, f"app-{time.time_ns()}", upload, by=actor)
    assert deployed.deployment is not None
    return deployed.deployment.id


def _eventually(true: Callable[[], bool], seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def _state(deployment_id: str) -> tuple[str, set[str]]:
    with SessionFactory() as session:
        rollouts = session.scalars(
            select(Rollout.state).where(Rollout.deployment_id == deployment_id)
        )
        return session.get_one(Deployment, deployment_id).state, set(rollouts)


DONE = ("live", {"acknowledged"})


def test_a_deployment_is_pushed_by_the_worker(
    committed: Engine, account: Account, agent: Agent
) -> None:
    with _worker(committed):
        deployment = _deploy(account)
        _eventually(lambda: _state(deployment) == DONE)


def test_the_health_page_hears_of_the_worker_and_the_sweep(
    committed: Engine, account: Account, tmp_path: Path
) -> None:
    def swept() -> bool:
        found = health.broker()
        return found is not None and found.swept_at is not None

    assert not health.worker_answers()
    assert not swept()
    beat = _beat(committed, tmp_path)
    with beat, _worker(committed):
        _eventually(health.worker_answers)
        _eventually(swept)
    assert not health.worker_answers()


def test_a_stop_in_the_middle_of_a_push_finishes_it(
    committed: Engine, account: Account, agent: Agent
) -> None:
    agent.delay_seconds = 2
    with _worker(committed) as process:
        deployment = _deploy(account)
        _eventually(lambda: len(agent.pushes) == 1)
        process.terminate()
        _eventually(lambda: process.poll() is not None)
    assert _state(deployment) == DONE
    assert len(agent.pushes) == 1


def test_a_kill_in_the_middle_of_a_push_is_swept_up(
    committed: Engine, account: Account, agent: Agent, tmp_path: Path
) -> None:
    agent.delay_seconds = 30
    with _worker(committed) as process:
        deployment = _deploy(account)
        _eventually(lambda: len(agent.pushes) == 1)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert _state(deployment) == ("pending", {"sent"})
    agent.delay_seconds = 0
    beat = _beat(committed, tmp_path)
    with beat, _worker(committed):
        _eventually(lambda: _state(deployment) == DONE)


def test_a_lost_message_only_delays(
    committed: Engine, account: Account, agent: Agent, broker: redis.Redis, tmp_path: Path
) -> None:
    deployment = _deploy(account)
    broker.flushdb()
    beat = _beat(committed, tmp_path)
    with beat, _worker(committed):
        _eventually(lambda: _state(deployment) == DONE)


def test_a_zone_is_proven_while_nobody_asks(
    committed: Engine, account: Account, tmp_path: Path
) -> None:
    with transaction() as session:
        name = f"zone-{time.time_ns()}.test"
        zone = Zone(account_id=account.id, name=name, next_check_at=now())
        session.add(zone)

    def active() -> bool:
        with SessionFactory() as session:
            return session.get_one(Zone, zone.id).active

    with name_server() as server:
        server.records[zone.challenge] = [zone.token]
        proving = {"SKERRY_ZONE_PROOF": "dns", "SKERRY_RESOLVERS": server.address}
        beat = _beat(committed, tmp_path)
        with beat, _worker(committed, **proving):
            _eventually(active)
        assert server.asked == [zone.challenge]
