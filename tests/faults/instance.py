"""A whole installation as somebody sees it who may look at its processes and at its database."""

import json
import os
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg.rows import DictRow, dict_row

from api.nodes.authority import node_name
from edge import proc
from edge.proc import Identity
from launcher import children, config, instance_lock, postgres, processes, programs, started
from launcher.errors import LauncherError
from launcher.paths import DataDirectory
from tests.cast import upload_parts
from tests.edge.nodes import until
from tests.platform import Platform

SCRIPT = "kept"
# What the version says that is live before every test.
FIRST = "first"
# What a deploy needs on a busy machine, restarts of everything it goes through included.
SECONDS = 60

NODES = ("edge-1", "edge-2")

# `stream` goes on until its visitor leaves. The loop keeps a start visible for a moment.
SOURCE = """\
const label = %s;
for (let turn = 0; turn < %d; turn++) Math.sqrt(turn);
const encoder = new TextEncoder();
const stream = () => new ReadableStream({
  async pull(controller) {
    await scheduler.wait(50);
    controller.enqueue(encoder.encode(label + "\\n"));
  },
});
export default {
  fetch: (request) => new Response(new URL(request.url).pathname === "/stream" ? stream() : label),
};
"""


def script(label: str, turns: int = 0) -> dict[str, Any]:
    """An upload that answers with its label; its start takes so many turns of a loop."""
    source = SOURCE % (json.dumps(label), turns)
    return upload_parts(source, annotations={"workers/message": label})


@dataclass(frozen=True)
class Node:
    """One node of the instance."""

    name: str
    folder: Path
    http_port: int
    agent_port: int

    def status(self) -> Any:
        """What the agent says; OSError while there is none."""
        credential = json.loads((self.folder / "credential.json").read_text())
        trust = ssl.create_default_context(cadata=credential["ca"])
        with socket.create_connection(("127.0.0.1", self.agent_port), SECONDS) as raw:
            name = node_name(credential["node_id"])
            connection = HTTPSConnection("127.0.0.1", self.agent_port)
            connection.sock = trust.wrap_socket(raw, server_hostname=name)
            authorization = {"Authorization": f"Bearer {credential['push_key']}"}
            connection.request("GET", "/status", headers=authorization)
            answer = json.loads(connection.getresponse().read())
            connection.close()
        return answer

    def cell_states(self) -> list[str]:
        return [cell["state"] for slot in self.status()["slots"] for cell in slot["cells"]]

    def differs(self, version_id: str) -> str:
        """In what this node is not one that runs this version and nothing else; "" when it is."""
        (slot,) = self.status()["slots"]
        cells = [cell["version_id"] for cell in slot["cells"]]
        states = {cell["state"] for cell in slot["cells"]}
        # One that was killed is started by its next visitor.
        if slot["state"] != "live" or cells != [version_id] or not states <= {"serving", "idle"}:
            return f"{self.name} says: {slot}"
        return f"{self.name} has a cell that nobody knows" if len(self.cells()) > 1 else ""

    def processes(self, role: str) -> list[Identity]:
        """Everything this node started for a purpose: `front`, `keeper`, `cell:`…"""
        marked = proc.marked("SKERRY_NODE", lambda value: value == str(self.folder))
        return [found for found, marks in marked if marks.get("SKERRY_ROLE", "").startswith(role)]

    def front(self) -> Identity:
        (front,) = self.processes("front")
        return front

    def cells(self) -> list[Identity]:
        return self.processes("cell:")


class Instance:
    """Two nodes, one control plane; every process can be found, stopped and killed."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.data = DataDirectory(platform.data.resolve())
        self.config = config.load(self.data.config)
        self.hostname = platform.hostname(SCRIPT)
        self.first = ""
        """The id of the first version."""
        self.nodes = [
            Node(
                name,
                self.data.node(name),
                self.config.ports[f"{name}.http"],
                self.config.ports[f"{name}.agent"],
            )
            for name in NODES
        ]

    @property
    def held_node(self) -> Node:
        """The node on which a deploy is held, and of which processes are killed."""
        return self.nodes[0]

    def held_slot(self) -> str:
        """The state of the script's slot on that node."""
        (slot,) = self.held_node.status()["slots"]
        return str(slot["state"])

    @cached_property
    def ports(self) -> dict[str, int]:
        return {node.name: node.http_port for node in self.nodes}

    # Processes

    def process(self, name: str) -> Identity:
        """A process that the supervisor watches, by its name in `./skerry status`."""
        found: list[Identity] = []

        def running() -> bool:
            identity = instance_lock.recorded(children.record_path(self.data, name))
            found[:] = [identity] if identity else []
            return bool(found)

        until(running, SECONDS, f"{name} runs")
        return found[0]

    def supervisor(self) -> Identity:
        found = instance_lock.supervisor(self.data)
        assert found
        return found

    def strays(self) -> list[str]:
        """Commands of processes of the control plane that the supervisor has not started, nor a child of its."""
        watched = set(family(self.supervisor().pid))
        return [
            " ".join(processes.command_line(found.pid))
            for found in processes.of_instance(self.data.path)
            if found.pid not in watched
        ]

    def remember(self) -> dict[str, Identity]:
        """Everything that the supervisor watches, by name."""
        names = [path.stem for path in self.data.records.glob("*.json")]
        return {name: self.process(name) for name in names}

    def settles(self) -> None:
        """Wait until the installation is in a state that lasts, without any help."""
        reasons = [""]

        def settled() -> bool:
            reasons[:] = [self.unsettled()]
            return reasons == [""]

        deadline, pause = time.monotonic() + SECONDS, 0.05
        while not settled():
            assert time.monotonic() < deadline, reasons
            # Each look is three requests, four sessions and every process of the machine: it would delay what it waits for.
            time.sleep(pause)
            pause = min(pause * 1.5, 0.4)

    def unsettled(self) -> str:
        """Why this is not a state that lasts; "" when every node runs what the API says."""
        try:
            return self._unsettled()
        except (OSError, HTTPException, LauncherError, psycopg.OperationalError) as error:
            return repr(error)

    def _unsettled(self) -> str:
        if not all(map(instance_lock.recorded, self.data.records.glob("*.json"))):
            return "a process has ended"
        if strays := self.strays():
            return f"nobody watches {strays}"
        if waiting := self.asked("SELECT * FROM rollouts WHERE state IN ('queued', 'sent')"):
            return f"rollouts wait: {waiting}"
        deployment = self.deployment()
        states = {rollout["target"]: rollout["state"] for rollout in deployment["rollouts"]}
        if states != dict.fromkeys(NODES, "acknowledged") or deployment["state"] != "live":
            return f"the API says: {deployment}"
        if any(wanted != said for wanted, said in self.generations().values()):
            return f"the nodes have not reported: {self.generations()}"
        (share,) = deployment["versions"]
        return "".join(node.differs(share["version_id"]) for node in self.nodes)

    # The control plane, by its API and by its database

    def make(self) -> None:
        """Upload the first version and give it a URL."""
        self.first = self.deploy(FIRST)
        path = f"workers/scripts/{SCRIPT}/subdomain"
        self.platform.api.result("POST", path, json={"enabled": True})

    def deploy(self, label: str) -> str:
        """Upload a version and deploy it, which has to succeed; the version's id."""
        path = f"workers/scripts/{SCRIPT}"
        return str(self.platform.api.result("PUT", path, **script(label))["deployment_id"])

    def deploy_first(self) -> None:
        """Roll back to the first version, which has to succeed."""
        shares = {
            "strategy": "percentage",
            "versions": [{"version_id": self.first, "percentage": 100}],
        }
        self.platform.api.result("POST", f"workers/scripts/{SCRIPT}/deployments", json=shares)

    def deployment(self) -> Any:
        """The newest deployment, with its rollouts; LauncherError while the API is away."""
        path = f"/workers/scripts/{SCRIPT}/deployments"
        newest = self._get(path)["deployments"][0]
        return self._get(f"{path}/{newest['id']}")

    def generations(self) -> dict[str, tuple[int, int]]:
        """What each node should run and what it reported, by the API."""
        nodes = self._get("/skerry/nodes?per_page=50")
        return {node["name"]: (node["generation"], node["reported_generation"]) for node in nodes}

    def _get(self, path: str) -> Any:
        return started.call(programs.Instance(self.config, self.data), path)

    def database(self) -> psycopg.Connection[DictRow]:
        url = postgres.url(self.config.ports["postgres"], self.config.password("postgres")).replace(
            "postgresql+psycopg", "postgresql"
        )
        return psycopg.connect(url, row_factory=dict_row, connect_timeout=10)

    def asked(self, query: LiteralString, *values: object) -> list[DictRow]:
        """The rows of a query in a session of its own."""
        with self.database() as database:
            return database.execute(query, values).fetchall()

    def waits_in_postgres(self, process: Identity) -> bool:
        """Whether a session of this process, or of a child of it, waits for a lock."""
        waiting = self.asked(
            "SELECT client_port FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        )
        own = {port for pid in family(process.pid) for port in local_ports(pid)}
        return any(row["client_port"] in own for row in waiting)


# --- /proc ------------------------------------------------------------------------------------


def family(pid: int) -> list[int]:
    """A process with its children and theirs."""
    try:
        tasks = Path(f"/proc/{pid}/task").iterdir()
        born = [child for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return [pid]
    return [pid, *(one for child in born for one in family(int(child)))]


def with_children(process: Identity) -> list[Identity]:
    """The process and all that descend from it, as far as they still run."""
    return [found for pid in family(process.pid) if (found := processes.identify(pid))]


def state(process: Identity) -> str:
    """R, S, D, T (stopped), Z; "" when it is gone."""
    try:
        return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def local_ports(pid: int) -> set[int]:
    """The process's own ends of its TCP connections."""
    inodes = _sockets(pid)
    return {found.local for found in _connections() if found.inode in inodes}


def unread_bytes(sender: Identity, port: int) -> int:
    """What a process has sent to a server of this machine and the server has not read."""
    own = local_ports(sender.pid)
    return sum(
        found.unread for found in _connections() if found.local == port and found.remote in own
    )


def connections_to(path: Path) -> int:
    """Connections to a unix socket, those included that its owner has not accepted."""
    # HAProxy binds under another name and renames it.
    lines = Path("/proc/net/unix").read_text().splitlines()
    listeners = 1
    return sum(str(path) in line for line in lines) - listeners


@dataclass(frozen=True)
class Connection:
    """One end of an established TCP connection over IPv4."""

    local: int
    remote: int
    unread: int
    inode: str


def _connections() -> Iterator[Connection]:
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, condition, queues, *_ = line.split()
        if condition == "01":
            ends = (local, remote, queues)
            own, other, unread = (int(end.rpartition(":")[2], 16) for end in ends)
            yield Connection(own, other, unread, line.split()[9])


def _sockets(pid: int) -> set[str]:
    found = set()
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                found.add(os.readlink(entry).removeprefix("socket:[").removesuffix("]"))
    return found


# --- signals ----------------------------------------------------------------------------------


@contextmanager
def stopped(*found: Identity) -> Iterator[None]:
    """Make processes stand still, and let those go on that live."""
    try:
        for process in found:
            processes.send(process, signal.SIGSTOP)
        until(lambda: all(state(process) == "T" for process in found), 10, "they stand still")
        yield
    finally:
        for process in found:
            processes.send(process, signal.SIGCONT)


def kill(process: Identity) -> tuple[float, float]:
    """kill -9; from when until when it took the process to die."""
    killed = processes.kill(process)
    assert killed, "it ended before it could be killed"
    return killed
