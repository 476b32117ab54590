"""Whatever is killed in whatever step of a deploy: visitors are served, and all nodes end up the same.

Every case holds one deploy inside one step (tests/faults/steps.py), proves that, kills one process with SIGKILL, and
lets the rest go on. Nobody helps then: the supervisor and the agents start again what ended.
"""

import time
from collections.abc import Callable, Iterator

import pytest

from edge.proc import Identity
from launcher.visiting import Visit, visit_once
from tests.edge.nodes import until
from tests.faults import steps
from tests.faults.instance import FIRST, SECONDS, Instance, kill
from tests.faults.steps import Deploy, Hold
from tests.faults.visitors import Visitors

pytestmark = [pytest.mark.platform, pytest.mark.xdist_group("faults")]

PROCESSES: dict[str, Callable[[Deploy], Identity]] = {
    "api": lambda deploy: deploy.instance.process("control"),
    "worker": lambda deploy: deploy.instance.process("worker"),
    "beat": lambda deploy: deploy.instance.process("beat"),
    "valkey": lambda deploy: deploy.instance.process("valkey"),
    "postgres": lambda deploy: deploy.instance.process("postgres"),
    "agent": lambda deploy: deploy.instance.process("edge-1-agent"),
    "haproxy": lambda deploy: deploy.instance.held_node.front(),
    "old cell": Deploy.old_cell,
    "new cell": Deploy.new_cell,
}
STEPS: dict[str, Hold] = {
    "check": steps.check,
    "commit": steps.commit,
    "enqueue": steps.enqueue,
    "push": steps.push,
    "start": steps.start,
    "front": steps.front,
    "drain": steps.drain,
    "record": steps.record,
}
COMMITTED = ("enqueue", "push", "start", "front", "drain", "record")

# Pairs that do not exist. A new cell is there from `start` on. While Valkey holds up the API in `enqueue`, the nodes
# find the deployment by their own pull: no cell is old or new for long. By `record` the old cell has ended.
NEVER = {
    *((step, "new cell") for step in ("check", "commit", "enqueue", "push")),
    ("enqueue", "old cell"),
    ("record", "old cell"),
}
CASES = [(step, name) for step in STEPS for name in PROCESSES if (step, name) not in NEVER]

# A visitor inside of these when they are killed has lost what would have answered.
INSIDE = ("haproxy", "old cell", "new cell")
# The front hears a moment later that the connections to a cell have ended.
HEARD_SECONDS = 0.5


@pytest.fixture(scope="module")
def visitors(instance: Instance) -> Iterator[Visitors]:
    with Visitors(instance.ports, instance.hostname, pause_seconds=0.1) as visitors:
        yield visitors


@pytest.mark.parametrize(("step", "name"), CASES, ids=["-".join(case) for case in CASES])
def test_kill(instance: Instance, visitors: Visitors, step: str, name: str) -> None:
    instance.settles()
    if answers(instance) != FIRST:  # the case before has failed
        instance.deploy_first()
    new = f"{step} {name}"
    began = time.monotonic()
    deploy = Deploy(instance, new)
    with STEPS[step](deploy) as inside:
        victim = PROCESSES[name](deploy)
        assert inside()
        killed = kill(victim)
        goes_on(deploy, name, killed[1])
    deploy.wait()
    instance.settles()
    done = answered(deploy, name)
    assert answers(instance) in ({new} if step in COMMITTED or done else {FIRST, new})
    instance.deploy_first()
    instance.settles()
    assert answers(instance) == FIRST
    assert [one for one in visitors.since(began) if lost(one, new, name, killed)] == []


def goes_on(deploy: Deploy, name: str, since: float) -> None:
    """A visitor who reads all along goes on reading, unless it was his front or his cell."""
    stream = deploy.stream
    if stream and name not in ("haproxy", "old cell"):
        until(lambda: stream.broken or stream.heard_at > since + 0.5, SECONDS, "he reads on")
        assert not stream.broken


def answered(deploy: Deploy, name: str) -> bool:
    """Whether the deploy was a success for the one who made it. Who got no answer or a refusal was in need of what was
    killed, and a refusal says what is true."""
    if deploy.answer is None:
        assert name == "api", deploy.lost
        return False
    if deploy.answer.status_code == 503:
        assert name == "postgres", deploy.answer.text
        (error,) = deploy.answer.json()["errors"]
        assert ("nothing was changed" in error["message"]) == (not deploy.committed())
        return False
    assert deploy.answer.status_code == 200, deploy.answer.text
    return True


def answers(instance: Instance) -> str:
    """What both nodes say, which has to be the same."""
    visits = [visit_once(node, port, instance.hostname) for node, port in instance.ports.items()]
    assert {one.status for one in visits} == {200}, visits
    (text,) = {one.text for one in visits}
    return text


def lost(one: Visit, new: str, name: str, killed: tuple[float, float]) -> bool:
    """Whether somebody got something else than a version of the script, and did not have to."""
    if one.status == 200 and one.text in (FIRST, new):
        return False
    began, ended = killed
    return not (
        name in INSIDE and one.node == "edge-1" and one.overlaps(began, ended + HEARD_SECONDS)
    )
