"""Deploys, switches and reports at once: nothing waits in a circle, no generation is lost or doubled."""

import contextlib
import threading
from collections.abc import Callable, Iterator

import pytest
import redis
from sqlalchemy import Engine, select

from api import ids
from api.accounts.actor import Actor
from api.accounts.models import Account
from api.bindings.models import Binding
from api.db import SessionFactory, transaction
from api.deployments import flows, rollouts, service
from api.deployments.models import Rollout
from api.deployments.rollouts import SlotReport
from api.errors import RouteExists, ZoneExists, ZoneMissing
from api.nodes import service as nodes
from api.nodes.models import Node
from api.objects.models import ObjectNamespace
from api.scripts import service as scripts
from api.versions import service as versions
from api.versions.bundle import Upload, UploadedModule
from api.versions.checking import Start
from api.zones import flows as zone_flows, leading, service as zones
from api.zones.models import Zone
from api.zones.patterns import read
from api.zones.service import Place
from tests.certificates import request_certificate

ROUNDS = 12
SCRIPTS = ("a", "b", "c")


@pytest.fixture
def account(committed: Engine, broker: redis.Redis) -> Iterator[Account]:
    """An account with three deployed scripts, and two nodes."""
    SessionFactory.configure(bind=committed, join_transaction_mode="conditional_savepoint")
    with transaction() as session:
        own = ids.hex32()[:8]  # what is committed stays
        account = Account(name=own, subdomain=own)
        session.add(account)
        for name in (f"busy-{own}-1", f"busy-{own}-2"):
            token = nodes.issue_join_token(session)
            nodes.enrol(session, token, name, "https://127.0.0.1:9", request_certificate())
    upload = Upload(
        "i.js",
        [UploadedModule("i.js", "esm", b"export default {}")],
        compatibility_date="2026-01-01",
    )
    for name in SCRIPTS:
        with transaction() as session:
            script = scripts.lock_or_create(session, account.id, name)
            version = versions.store(session, script, upload, Start(1, [], []), by=_actor(account))
            service.deploy(session, script, {version: 100}, by=_actor(account))
    yield account
    SessionFactory.configure(bind=None)


def _actor(account: Account) -> Actor:
    return Actor(account.id, "a@example.org", "0" * 32, "api")


def _together(*works: Callable[[int], object]) -> list[BaseException]:
    """Run each work ROUNDS times, all at once; the errors."""
    errors: list[BaseException] = []

    def run(work: Callable[[int], object]) -> None:
        try:
            for number in range(ROUNDS):
                work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return errors


def test_deploys_switches_renames_and_reports_at_once(account: Account) -> None:
    def deploy(name: str) -> Callable[[int], object]:
        def work(_: int) -> object:
            with transaction() as session:
                script = scripts.lock(session, account.id, name)
                version = versions.latest(session, script)
                assert version is not None
                return service.deploy(session, script, {version: 100}, by=_actor(account))

        return work

    def switch(number: int) -> object:
        return flows.set_subdomain(account.id, "a", enabled=number % 2 == 0)

    def report(_: int) -> None:
        with transaction() as session:
            waiting = session.scalars(select(Rollout).where(Rollout.state == "queued")).all()
            sent = [(r.target_id, SlotReport(r.script_id, r.generation, "live")) for r in waiting]
            for node in session.scalars(select(Node)):
                node.agent_version = str(_)
        for target, slot in sent:
            rollouts.record(target, [slot])

    errors = _together(
        deploy("a"), deploy("b"), deploy("c"), switch, lambda n: flows.rename_subdomain(account, f"busy{n}"), report, report
    )  # fmt: skip
    assert errors == []
    with SessionFactory() as session:
        for node in session.scalars(select(Node).where(Node.name.like("busy-%"))):
            generations = session.scalars(
                select(Rollout.generation).where(Rollout.target_id == node.id)
            ).all()
            assert sorted(generations) == list(range(1, node.generation + 1))


def test_two_scripts_that_move_each_other(account: Account) -> None:
    """Both get Durable Objects at the same time, and each calls the other."""
    for name, callee in (("a", "b"), ("b", "a")):
        with transaction() as session:
            version = versions.latest(session, scripts.lock(session, account.id, name))
            assert version
            binding = {"name": "NEXT", "type": "service", "service": callee}
            version.bindings.append(Binding.of(binding, 0))
    met = threading.Barrier(2)

    def moves(name: str) -> Callable[[int], object]:
        def work(number: int) -> object:
            if number:
                return None
            with transaction() as session:
                script = scripts.lock(session, account.id, name)
                # Who waits for the other one's turn does not come here.
                with contextlib.suppress(threading.BrokenBarrierError):
                    met.wait(1)
                namespace = ObjectNamespace(script_id=script.id, class_name="Counter", sqlite=True)
                session.add(namespace)
                session.flush()
                return rollouts.roll_out(session, script, service.current(session, script))

        return work

    assert _together(moves("a"), moves("b")) == []
    with SessionFactory() as session:
        found = {one.name: one.at_home for one in scripts.lock_all(session, account.id)}
    assert found == {"a": True, "b": True, "c": False}


def test_of_two_accounts_that_add_a_zone_at_once_one_has_it(account: Account) -> None:
    """Also when one of the names is below the other."""
    own = ids.hex32()[:8]
    with transaction() as session:
        other = Account(name=own, subdomain=own)
        session.add(other)

    def adding(one: Account, prefix: str) -> Callable[[int], object]:
        def work(number: int) -> object:
            with contextlib.suppress(ZoneExists):
                return zone_flows.create_zone(one.id, f"{prefix}z{number}.{own}.test")
            return None

        return work

    errors = _together(adding(account, ""), adding(other, ""), adding(other, "sub."))
    assert errors == []
    with SessionFactory() as session:
        found = session.scalars(select(Zone.name).where(Zone.name.endswith(f".{own}.test"))).all()
    assert sorted(name.removeprefix("sub.") for name in found) == sorted(
        f"z{number}.{own}.test" for number in range(ROUNDS)
    )


def test_scripts_that_want_the_same_route_at_once(account: Account) -> None:
    """One of them has it in the end, nobody waits in a circle with deploys or the end of the zone."""
    name = f"{ids.hex32()[:8]}.test"

    def wanting(script: str) -> Callable[[int], object]:
        def work(number: int) -> None:
            with contextlib.suppress(RouteExists, ZoneMissing):
                zone_flows.replace_routes(account.id, script, [Place(f"*{name}/x{number % 3}")])
            with contextlib.suppress(ZoneMissing):
                wanted = [Place(f"app.{name}")]
                zone_flows.attach_domains(account.id, script, wanted, replace=True, take=True)

        return work

    def remaking(number: int) -> None:
        zone = zone_flows.create_zone(account.id, name)
        if number < ROUNDS - 1:
            zone_flows.delete_zone(account.id, zone.id)

    def switch(number: int) -> object:
        return flows.set_subdomain(account.id, "a", enabled=number % 2 == 0)

    assert _together(wanting("a"), wanting("b"), wanting("c"), remaking, switch) == []
    assert _together(wanting("a"), wanting("b"), wanting("c")) == []
    with SessionFactory() as session:
        (zone,) = zones.zones(session, account)
        forms = [
            form for route in leading.routes(session, zone) for form in read(route.pattern).forms
        ]
        assert forms
        assert len(forms) == len(set(forms))
        assert len(leading.domains_of_zone(session, zone)) == 1
