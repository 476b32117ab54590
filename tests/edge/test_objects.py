"""Durable Objects on a node: one process at a time has them, and nothing acknowledged is lost."""

import concurrent.futures
import contextlib
import fcntl
import http.client
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from edge.runtime.binary import CHECKOUT
from edge.runtime.sandbox import first_uid
from tests.edge.bundles import ACCOUNT_ID, Bundle, Json, answering, host_of, slot as slot_of
from tests.edge.gateway import Gateway
from tests.edge.nodes import TestNode, running_node, until

pytestmark = pytest.mark.edge

SCRIPT = """
import { DurableObject } from "cloudflare:workers";
const version = "VERSION";

export class Ledger extends DurableObject {
  constructor(ctx, env) {
    super(ctx, env);
    ctx.storage.sql.exec("CREATE TABLE IF NOT EXISTS entries (entry TEXT PRIMARY KEY)");
  }
  add(entry) {
    this.ctx.storage.sql.exec("INSERT INTO entries VALUES (?)", entry);
    return version;
  }
  all() {
    return this.ctx.storage.sql.exec("SELECT entry FROM entries").toArray().map((row) => row.entry);
  }
  ring(at) { return this.ctx.storage.setAlarm(at); }
  alarm() { this.add(`rang ${Date.now()}`); }
  fetch() {
    const { 0: client, 1: server } = new WebSocketPair();
    this.ctx.acceptWebSocket(server);
    return new Response(null, { status: 101, webSocket: client });
  }
  webSocketMessage(socket, message) { socket.send(`${version} ${message}`); }
}

export default {
  async fetch(request, env) {
    const url = new URL(request.url);
    const [, name, method, argument] = url.pathname.split("/");
    const stub = env.LEDGER.getByName(name);
    if (method === "socket") return stub.fetch(request);
    return Response.json(await stub[method](method === "ring" ? Number(argument) : argument));
  },
};
"""


def namespace() -> str:
    return uuid.uuid4().hex


def ledger(version: str, namespace_id: str, *, broken: bool = False) -> Bundle:
    source = SCRIPT.replace("VERSION", version)
    if broken:
        source += "\nthrow new Error('not today');"
    return Bundle(
        source,
        objects=[{"class_name": "Ledger", "namespace_id": namespace_id, "sqlite": True}],
        bindings=[{"name": "LEDGER", "type": "durable_object_namespace", "class_name": "Ledger"}],
    )


@pytest.fixture(scope="module")
def node(gateway: Gateway, folder: Path) -> Iterator[TestNode]:
    with running_node(gateway, folder, SKERRY_IDLE_SECONDS="2") as node:
        yield node


class Writers:
    """Each adds one entry after the other to the same object, and remembers what was acknowledged."""

    def __init__(self, node: TestNode, name: str, count: int) -> None:
        self._node, self._name = node, name
        self._stopped = threading.Event()
        self.acknowledged: list[str] = []
        self.failed: list[str] = []
        self._threads = [
            threading.Thread(target=self._write, args=(number,)) for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def _write(self, number: int) -> None:
        for entry in range(100_000):
            if self._stopped.is_set():
                return
            try:
                answer = self._node.visit(self._name, f"/book/add/{number}-{entry}")
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(repr(error))
                time.sleep(0.05)
                continue
            if answer.status == 200:
                self.acknowledged.append(f"{number}-{entry}")
            else:
                self.failed.append(f"{answer.status} {answer.text[:200]}")
                time.sleep(0.05)

    def reach(self, count: int) -> None:
        before = len(self.acknowledged)
        until(lambda: len(self.acknowledged) >= before + count, 60, f"writes\n{self.failed[-3:]}")

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()


@contextlib.contextmanager
def writing(node: TestNode, name: str, count: int = 4) -> Iterator[Writers]:
    writers = Writers(node, name, count)
    try:
        yield writers
    finally:
        writers.stop()


def entries(node: TestNode, name: str, book: str = "book") -> list[str]:
    found = json.loads(node.visit(name, f"/{book}/all").body)
    assert isinstance(found, list)
    return found


@contextlib.contextmanager
def connected(node: TestNode, name: str) -> Iterator[ClientConnection]:
    with (
        socket.create_connection(("127.0.0.1", node.http_port)) as plain,
        connect(f"ws://{host_of(name)}/room/socket", sock=plain, close_timeout=1) as client,
    ):
        yield client


def said_by(client: ClientConnection, message: str) -> str:
    client.send(message)
    return str(client.recv(timeout=10))


def test_redeploys_lose_no_request_and_no_write(node: TestNode) -> None:
    id_ = namespace()
    said = node.deploy("books", ledger("0", id_))
    assert said["state"] == "live", said
    with writing(node, "books") as writers:
        for number in range(1, 6):
            assert node.deploy("books", ledger(str(number), id_))["state"] == "live"
            assert node.visit("books", f"/other/add/{number}").text == f'"{number}"'
            writers.reach(20)
            assert len(node.pids("cell:")) == 1, "two processes have one storage"
    assert writers.failed == []
    assert sorted(entries(node, "books")) == sorted(writers.acknowledged)
    assert entries(node, "books", "other") == ["1", "2", "3", "4", "5"]


def test_a_version_that_does_not_start_leaves_the_one_before(node: TestNode) -> None:
    id_ = namespace()
    assert node.deploy("careful", ledger("good", id_))["state"] == "live"
    with writing(node, "careful", 2) as writers:
        writers.reach(5)
        said = node.deploy("careful", ledger("bad", id_, broken=True))
        assert said["state"] == "failed"
        assert "not today" in str(said["reason"])
        writers.reach(5)
    assert writers.failed == []
    assert node.visit("careful", "/book/add/last").text == '"good"'
    assert sorted(entries(node, "careful")) == sorted([*writers.acknowledged, "last"])
    assert node.deploy("careful", ledger("better", id_))["state"] == "live"
    assert node.visit("careful", "/book/add/more").text == '"better"'


def test_one_process_at_a_time(node: TestNode, folder: Path) -> None:
    id_ = namespace()
    assert node.deploy("locked", ledger("1", id_))["state"] == "live"
    lock = node.folder / "locks" / f"{id_}.lock"
    with lock.open() as ours, pytest.raises(BlockingIOError):
        fcntl.flock(ours, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.kill(int(str(cell_of(node, "locked")["pid"])), signal.SIGKILL)
    with lock.open() as ours:
        until(lambda: try_lock(ours.fileno()), what="the lock is gone with its process")
        visitor = threading.Thread(target=node.visit, args=("locked", "/book/add/waited"))
        visitor.start()
        visitor.join(1)
        assert visitor.is_alive()
        assert not running(node, "locked")
    visitor.join(20)
    assert entries(node, "locked") == ["waited"]


def try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def test_only_the_accounts_user_may_open_it(node: TestNode) -> None:
    id_ = namespace()
    node.deploy("private", ledger("1", id_))
    node.visit("private", "/book/add/1")
    (folder,) = node.folder.glob(f"stores/{ACCOUNT_ID}/objects/*/{id_}")
    for path in (folder.parent, folder, *folder.iterdir()):
        found = path.stat()
        if os.geteuid() == 0:
            assert found.st_uid > first_uid(node.folder.resolve())
    assert folder.parent.stat().st_mode & 0o077 == 0


def test_alarms_start_a_script_at_rest_and_sockets_keep_it_awake(node: TestNode) -> None:
    id_, other = namespace(), namespace()
    node.deploy("awake", ledger("1", other))
    node.deploy("sleeper", ledger("1", id_))
    due_ms = int((time.time() + 15) * 1000)
    with connected(node, "awake") as client:
        assert said_by(client, "hello") == "1 hello"
        node.visit("sleeper", f"/book/ring/{due_ms}")
        assert running(node, "sleeper")
        until(lambda: not running(node, "sleeper"), 12, "it rests")
        # Nobody asks: the alarm alone starts it. Meanwhile the other one's object has hibernated,
        # which it does after ten seconds without an event.
        until(lambda: running(node, "sleeper"), 20, "its alarm starts it")
        assert running(node, "awake")
        assert said_by(client, "again") == "1 again"
    (rang,) = entries(node, "sleeper")
    late_ms = int(rang.removeprefix("rang ")) - due_ms
    assert 0 <= late_ms < 2000
    until(lambda: not running(node, "awake"), 30, "it rests once the socket is closed")


def cell_of(node: TestNode, name: str) -> Json:
    """The only one of a script."""
    slots = node.status()["slots"]
    assert isinstance(slots, list)
    script_id = slot_of(name, 0, None, None)["script_id"]
    (cell,) = [cell for slot in slots if slot["script_id"] == script_id for cell in slot["cells"]]
    assert isinstance(cell, dict)
    return cell


def running(node: TestNode, name: str) -> bool:
    return cell_of(node, name)["pid"] is not None


def test_a_redeploy_closes_sockets_and_keeps_what_they_stored(node: TestNode) -> None:
    id_ = namespace()
    node.deploy("chat", ledger("1", id_))
    with connected(node, "chat") as client:
        said_by(client, "hello")
        node.visit("chat", "/book/add/kept")
        assert node.deploy("chat", ledger("2", id_))["state"] == "live"
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=10)
    with connected(node, "chat") as client:
        assert said_by(client, "hello") == "2 hello"
    assert entries(node, "chat") == ["kept"]


def test_kills_lose_nothing_acknowledged(gateway: Gateway, folder: Path) -> None:
    id_ = namespace()
    with running_node(gateway, folder, "killed") as node:
        node.deploy("ledger", ledger("1", id_))
        with writing(node, "ledger") as writers:
            writers.reach(100)
            for _ in range(3):
                os.kill(node.serving_pid(), signal.SIGKILL)
                writers.reach(60)
            node.kill_agent()
            node.start()
            writers.reach(60)
            node.kill_everything()
            node.start()
            writers.reach(60)
        assert len(writers.acknowledged) > 400
        assert set(writers.acknowledged) <= set(entries(node, "ledger"))
        snapshot_has_all(node, folder, writers.acknowledged)


def snapshot_has_all(node: TestNode, folder: Path, acknowledged: list[str]) -> None:
    """A snapshot is made while it runs, and another node serves out of it."""
    target = folder / "snapshot"
    command = [sys.executable, "-m", "edge.agent", "snapshot", "--dir", str(node.folder)]
    subprocess.run([*command, "--to", str(target)], cwd=CHECKOUT, check=True, timeout=60)
    (copied,) = target.glob(f"{ACCOUNT_ID}/objects/*/*/{'?' * 64}.sqlite")
    database = sqlite3.connect(copied)
    found = {entry for (entry,) in database.execute("SELECT entry FROM entries")}
    database.close()
    assert set(acknowledged) <= found


def test_storage_goes_to_another_script_and_away(node: TestNode) -> None:
    id_, other = namespace(), namespace()
    node.deploy("giver", ledger("1", id_))
    node.visit("giver", "/book/add/given")
    node.deploy("taker", ledger("1", other))
    with concurrent.futures.ThreadPoolExecutor() as pool:
        # Its start waits until the giver has let go of it.
        taking = pool.submit(node.deploy, "taker", ledger("2", id_))
        assert node.deploy("giver", Bundle(answering("gone")))["state"] == "live"
        assert taking.result()["state"] == "live"
    assert entries(node, "taker") == ["given"]
    listed = asked(node, "GET", id_, "objects")["objects"]
    assert isinstance(listed, list)
    (before,) = listed
    assert asked(node, "GET", id_, f"objects?after={before}") == {"objects": []}
    assert "error" in asked(node, "POST", id_, "destroy"), "a process has it open"
    node.deploy("taker", None)
    until(lambda: asked(node, "POST", id_, "destroy") == {"destroyed": id_}, 20, "it is free")
    assert asked(node, "POST", id_, "destroy") == {"destroyed": id_}
    assert not list(node.folder.glob(f"stores/*/*/*/{id_}"))


def asked(node: TestNode, method: str, id_: str, what: str) -> Json:
    path = f"/stores/objects/{ACCOUNT_ID}/{id_}/{what}"
    return node.gateway.call(node.enrolled, method, path)[1]
