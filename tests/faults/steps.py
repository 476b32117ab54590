"""The steps of a deploy, and how the platform is held inside each of them from outside.

A hold starts the deploy, yields once the platform is inside the step, and lets it go on at its end. What it
yields is the evidence: a condition that is true as long as the platform is there.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import LiteralString

import httpx2
import psycopg

from edge.paths import NodePaths
from edge.proc import Identity
from launcher import processes
from tests.edge.nodes import until
from tests.faults import instance as machine
from tests.faults.instance import SCRIPT, SECONDS, Instance, script, stopped
from tests.faults.visitors import Stream

Evidence = Callable[[], bool]
Hold = Callable[["Deploy"], AbstractContextManager[Evidence]]

# Turns of a loop at the top of a script, some tenths of a second: long enough to catch its cell before it is up.
SLOW_TURNS = 800_000_000


class Deploy:
    """One upload by somebody who waits for the answer."""

    def __init__(self, instance: Instance, label: str) -> None:
        self.instance = instance
        self.label = label
        self.old_cells = instance.held_node.cells()
        self.answer: httpx2.Response | None = None
        self.lost: httpx2.HTTPError | None = None
        """Why there was no answer."""
        self.stream: Stream | None = None
        """A visitor who reads an answer of the old cell all along, if there is one."""
        self._thread: threading.Thread | None = None

    def start(self, turns: int = 0) -> None:
        self._thread = threading.Thread(target=self._send, args=(turns,))
        self._thread.start()

    def wait(self) -> None:
        assert self._thread
        self._thread.join(SECONDS)
        assert not self._thread.is_alive(), "the deploy was never answered"

    def _send(self, turns: int) -> None:
        parts = script(self.label, turns)
        try:
            self.answer = self.instance.platform.api.call(
                "PUT", f"workers/scripts/{SCRIPT}", timeout=SECONDS, **parts
            )
        except httpx2.HTTPError as error:
            self.lost = error

    @property
    def waits(self) -> bool:
        return self.answer is None and self.lost is None

    def old_cell(self) -> Identity:
        (cell,) = self.old_cells
        return cell

    def new_cells(self) -> list[Identity]:
        return [cell for cell in self.instance.held_node.cells() if cell not in self.old_cells]

    def new_cell(self) -> Identity:
        (cell,) = self.new_cells()
        return cell

    def committed(self) -> bool:
        """Whether the decision is in the database."""
        query = "SELECT 1 FROM deployments WHERE message = %s"
        return bool(self.instance.asked(query, self.label))

    def rollouts(self) -> list[tuple[str, str]]:
        """(id, state) of the deployment's rollouts."""
        query = (
            "SELECT rollouts.id, rollouts.state FROM rollouts JOIN deployments"
            " ON deployments.id = rollouts.deployment_id WHERE message = %s"
        )
        return [(row["id"], row["state"]) for row in self.instance.asked(query, self.label)]


@contextmanager
def _inside(evidence: Evidence, what: str) -> Iterator[Evidence]:
    until(evidence, SECONDS, what)
    yield evidence


@contextmanager
def check(deploy: Deploy) -> Iterator[Evidence]:
    """The API waits for the program that starts the bundle once."""
    api = deploy.instance.process("control")

    def checking() -> list[Identity]:
        programs = [pid for pid in machine.family(api.pid) if pid != api.pid]
        found = [
            processes.identify(pid)
            for pid in programs
            if "edge.check" in processes.command_line(pid)
        ]
        return [one for one in found if one]

    deploy.start()
    until(checking, SECONDS, "the API checks the bundle")
    program = checking()[0]
    with stopped(program):
        yield lambda: machine.state(program) == "T" and deploy.waits and not deploy.committed()


@contextmanager
def _rows_locked(instance: Instance, query: LiteralString, value: object) -> Iterator[None]:
    """Hold the rows of a query as long as Postgres lives."""
    database = instance.database()
    try:
        assert database.execute(query, [value]).fetchall()
        yield
    finally:
        with suppress(psycopg.OperationalError):
            database.rollback()
        database.close()


@contextmanager
def commit(deploy: Deploy) -> Iterator[Evidence]:
    """The API waits in Postgres, in the transaction that stores version, deployment and rollouts."""
    instance = deploy.instance
    api = instance.process("control")
    with _rows_locked(instance, "SELECT 1 FROM scripts WHERE name = %s FOR UPDATE", SCRIPT):
        deploy.start()

        def inside() -> bool:
            return instance.waits_in_postgres(api) and not deploy.committed()

        with _inside(inside, "the API waits in Postgres") as found:
            yield found


@contextmanager
def enqueue(deploy: Deploy) -> Iterator[Evidence]:
    """The decision is committed, and the API waits for Valkey to take the messages."""
    instance = deploy.instance
    api, port = instance.process("control"), instance.config.ports["valkey"]
    with stopped(instance.process("valkey")):
        deploy.start()

        def inside() -> bool:
            sent = machine.unread_bytes(api, port) > 0
            return sent and deploy.waits and deploy.committed()

        with _inside(inside, "the API waits for Valkey") as found:
            yield found


@contextmanager
def push(deploy: Deploy) -> Iterator[Evidence]:
    """The worker has claimed both rollouts and waits for the answers of both agents."""
    agents = [deploy.instance.process(f"{node.name}-agent") for node in deploy.instance.nodes]
    with stopped(*agents):
        deploy.start()

        def inside() -> bool:
            return [state for _, state in deploy.rollouts()] == ["sent", "sent"]

        with _inside(inside, "both rollouts are sent") as found:
            yield found


@contextmanager
def start(deploy: Deploy) -> Iterator[Evidence]:
    """The agent waits for the new cell's first answer."""
    deploy.start(SLOW_TURNS)
    until(deploy.new_cells, SECONDS, "the new cell has a process")
    cell = deploy.new_cell()
    with stopped(cell):
        yield lambda: machine.state(cell) == "T" and deploy.instance.held_slot() == "pending"


@contextmanager
def front(deploy: Deploy) -> Iterator[Evidence]:
    """The new cell is up, and the agent waits for HAProxy to take it."""
    node = deploy.instance.held_node
    socket = NodePaths.of(node.folder).front_socket

    def inside() -> bool:
        waits = machine.connections_to(socket) > 0 and bool(deploy.new_cells())
        return waits and deploy.instance.held_slot() == "pending"

    with stopped(node.front()):
        deploy.start()
        with _inside(inside, "the agent waits for HAProxy") as found:
            yield found


@contextmanager
def drain(deploy: Deploy) -> Iterator[Evidence]:
    """The new cell answers, and the old one finishes what a visitor still reads."""
    instance, node = deploy.instance, deploy.instance.held_node
    with Stream(node.http_port, instance.hostname) as stream:
        deploy.stream = stream
        deploy.start()
        deploy.wait()
        yield lambda: node.cell_states().count("draining") == 1 and not stream.broken


@contextmanager
def record(deploy: Deploy) -> Iterator[Evidence]:
    """The nodes have answered, and the worker waits in Postgres to write that down."""
    instance = deploy.instance

    def inside() -> bool:
        return instance.waits_in_postgres(instance.process("worker"))

    with ExitStack() as agents:
        agents.enter_context(push(deploy))
        ids = [id_ for id_, _ in deploy.rollouts()]
        with _rows_locked(instance, "SELECT 1 FROM rollouts WHERE id = ANY(%s) FOR UPDATE", ids):
            agents.close()  # now they answer
            with _inside(inside, "the worker waits") as found:
                yield found
