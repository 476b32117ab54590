"""Real nodes for tests: an agent program with its keeper, HAProxy and cells in a temporary folder."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edge.agent.processes import node_processes
from edge.paths import NodePaths
from edge.proc import Identity
from edge.runtime.binary import CHECKOUT
from launcher import ports
from tests.edge.bundles import Beside, Bundle, Json, host_of
from tests.edge.gateway import EnrolledNode, Gateway

SLOTS = 40
SETTINGS = {
    "SKERRY_SLOTS": str(SLOTS),
    # So that a script has as many processes as a test says, under whatever load and on however many cores.
    "SKERRY_MAX_CELLS": "1",
    "SKERRY_PULL_SECONDS": "0.3",
    "SKERRY_DRAIN_SECONDS": "3",
    "SKERRY_LINGER_SECONDS": "0.1",
}

# So long `until` asks at its fastest: some tests have to catch a state that lasts some tenths of a second.
OFTEN_SECONDS = 2.0


def free_port() -> int:
    """One that the system gives to no outgoing connection before a server opens it."""
    (port,) = free_ports(1)
    return port


def free_ports(count: int, reserved: ports.Reservations | None = None) -> list[int]:
    """Different ones. Those reserved are taken by no other test while they are not open yet, or not any more."""
    wishes = [ports.Wish(str(number), "any", None) for number in range(count)]
    while True:
        chosen, _ = ports.choose(wishes, {})
        if reserved is None or reserved.add(chosen.values()):
            return list(chosen.values())


def until(true: Callable[[], object], seconds: float = 10, what: str = "") -> None:
    """Wait for something that other processes do.

    What takes long is asked for less often: each question is work for them too, a TLS handshake as a rule.
    """
    began = time.monotonic()
    while not true():
        waited = time.monotonic() - began
        assert waited < seconds, f"not within {seconds} s: {what}"
        time.sleep(0.03 if waited < OFTEN_SECONDS else 0.1)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Json:
        found: Json = json.loads(self.body)
        return found


class TestNode:
    """One node; `start` and `kill` may be called in any order."""

    __test__ = False

    def __init__(self, gateway: Gateway, folder: Path, name: str, settings: Mapping[str, str]):
        self.gateway = gateway
        self.name = name
        self.folder = folder / name
        self._reserved = ports.Reservations()
        self.http_port, self.https_port, self._agent_port = free_ports(3, self._reserved)
        self._settings = {**SETTINGS, **settings}
        self._log = folder / f"{name}.log"
        self._agent: subprocess.Popen[bytes] | None = None
        self.arguments = ["--join", gateway.join_token(), "--control", gateway.url]

    # Processes

    def command(self) -> list[str]:
        return [
            *(sys.executable, "-m", "edge.agent", "--dir", str(self.folder)),
            *("--name", self.name, "--http-port", str(self.http_port)),
            *("--https-port", str(self.https_port), "--agent-port", str(self._agent_port)),
            *self.arguments,
        ]

    def configure(self, **settings: str) -> None:
        """From the next start on."""
        self._settings |= settings

    def start(self) -> None:
        environ = {**os.environ, **self._settings}
        with self._log.open("ab") as log:
            self._agent = subprocess.Popen(
                self.command(), cwd=CHECKOUT, stdout=log, stderr=log, env=environ
            )
        until(self.answers, 60, f"the agent answers\n{self.log()}")

    def answers(self) -> bool:
        assert self._agent
        assert self._agent.poll() is None, self.log()
        if self.name not in self.gateway.nodes:
            return False
        try:
            return self.gateway.call(self.enrolled, "GET", "/status")[0] == 200
        except OSError:
            return False

    def agent_pid(self) -> int:
        assert self._agent
        return self._agent.pid

    def kill_agent(self) -> None:
        assert self._agent
        self._agent.kill()
        self._agent.wait()

    def stop_agent(self) -> None:
        """As an operator would: only the agent ends."""
        assert self._agent
        self._agent.terminate()
        assert self._agent.wait(15) == 0, self.log()

    def stop(self) -> subprocess.CompletedProcess[str]:
        """As an operator would: everything of the node ends."""
        done = subprocess.run(
            [sys.executable, "-m", "edge.agent", "stop", "--dir", str(self.folder)],
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert self._agent
        assert self._agent.wait(1) == 0
        return done

    def kill_everything(self) -> None:
        if self._agent:
            self.kill_agent()
        for identity, _ in list(self.processes()):
            os.kill(identity.pid, signal.SIGKILL)
        until(lambda: not list(self.processes()), what="everything is dead")
        shutil.rmtree(NodePaths.of(self.folder).doors, ignore_errors=True)

    def remove(self) -> None:
        """Nothing of it runs from here on."""
        self.kill_everything()
        self._reserved.release()

    def processes(self, role: str = "") -> Iterator[tuple[Identity, str]]:
        for identity, found in node_processes(self.folder.resolve()):
            if found.startswith(role):
                yield identity, found

    def pids(self, role: str) -> list[int]:
        return sorted(identity.pid for identity, _ in self.processes(role))

    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def events(self, name: str) -> list[Json]:
        lines = [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("event") == name]

    # The control plane's view

    @property
    def enrolled(self) -> EnrolledNode:
        return self.gateway.nodes[self.name]

    def deploy(
        self,
        name: str,
        bundle: Bundle | None,
        hostnames: list[str] | None = None,
        function: Json | None = None,
        beside: Beside | None = None,
        more: Json | None = None,
    ) -> Json:
        """Decide and push; answers the node's word on this slot."""
        decided = self.gateway.decide(
            self.enrolled, name, bundle, hostnames, function, beside, more
        )
        files = {
            digest: content
            for one in (bundle, beside[0] if beside else None)
            for digest, content in (one.files() if one else {}).items()
        }
        answer = self.gateway.push(self.enrolled, decided, files=files)
        slots = answer["slots"]
        assert isinstance(slots, list)
        (said,) = slots
        assert isinstance(said, dict)
        return said

    def status(self) -> Json:
        code, answer = self.gateway.call(self.enrolled, "GET", "/status")
        assert code == 200
        return answer

    def cells(self) -> list[Json]:
        slots = self.status()["slots"]
        assert isinstance(slots, list)
        return [cell for slot in slots for cell in slot["cells"]]

    def serving_pid(self) -> int:
        """The pid of the only cell that serves."""
        (cell,) = [cell for cell in self.cells() if cell["state"] == "serving"]
        return int(str(cell["pid"]))

    # A visitor's view

    def visit(
        self,
        name: str,
        path: str = "/",
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        host: str | None = None,
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=60)
        try:
            sent = {"Host": host or host_of(name), **(headers or {})}
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            lowered = {key.lower(): value for key, value in answer.getheaders()}
            return Answer(answer.status, lowered, answer.read())
        finally:
            connection.close()

    def admin(self, command: str) -> str:
        """Ask this node's HAProxy."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.folder / "sockets" / "front.sock"))
            connection.sendall(command.encode() + b"\n")
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
        return answer.decode().strip()

    def open_sessions(self) -> int:
        """How many the front has on cells."""
        rows = [row.split(",") for row in self.admin("show stat -1 4 -1").splitlines()]
        current = rows[0].index("scur")
        return sum(int(row[current]) for row in rows[1:] if row[1].startswith("c"))


@contextmanager
def running_node(
    gateway: Gateway, folder: Path, name: str = "edge-1", **settings: str
) -> Iterator[TestNode]:
    with running(TestNode(gateway, folder, name, settings)) as node:
        yield node


@contextmanager
def running(node: TestNode) -> Iterator[TestNode]:
    try:
        node.start()
        yield node
    finally:
        node.remove()
