"""Request records while the control plane is killed: every request is counted, and counted once. And, on the
same two nodes when that is over, a Worker that one of them runs for both."""

import socket
import time
from contextlib import ExitStack
from typing import LiteralString

import pytest
from psycopg.rows import DictRow
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.cast import upload_parts
from tests.edge.nodes import until
from tests.faults.instance import NODES, SECONDS, Instance, kill
from tests.faults.visitors import Visitors

pytestmark = [pytest.mark.platform, pytest.mark.xdist_group("records")]

# One visitor a node, who comes some twenty times a second.
PAUSE_SECONDS = 0.05
# So many requests after each kill, before the next one.
BETWEEN = 40


def test_every_request_is_counted_once_whoever_is_killed(instance: Instance) -> None:
    with Visitors(instance.ports, instance.hostname, pause_seconds=PAUSE_SECONDS) as visitors:
        for name in ("control", "postgres", "control", "valkey", "postgres"):
            kill(instance.process(name))
            seen = len(visitors.visits)
            until(
                lambda seen=seen: len(visitors.visits) > seen + BETWEEN,  # type: ignore[misc]
                SECONDS,
                "visitors go on",
            )
        instance.settles()
    visits = len(visitors.visits)
    assert {one.status for one in visitors.visits} == {200}
    until(lambda: _counted(instance) >= visits, SECONDS, "every request arrived")
    time.sleep(2)  # what would be counted twice comes with the next batch
    assert _counted(instance) == visits
    rows = _row(instance, "SELECT count(*) AS all, count(DISTINCT ray) AS rays FROM invocations")
    assert rows == {"all": visits, "rays": visits}
    assert instance.asked("SELECT reason, records FROM losses") == []


ROOM = """
import { DurableObject } from "cloudflare:workers";
export class Room extends DurableObject {
  fetch() {
    const { 0: client, 1: server } = new WebSocketPair();
    this.ctx.acceptWebSocket(server);
    return new Response(null, { status: 101, webSocket: client });
  }
  webSocketMessage(_, message) {
    for (const socket of this.ctx.getWebSockets()) socket.send(message);
  }
}
export default { fetch: (request, env) => env.ROOM.getByName("room").fetch(request) };
"""


def test_visitors_of_both_nodes_meet_in_one_object(instance: Instance) -> None:
    api = instance.platform.api
    binding = {"name": "ROOM", "type": "durable_object_namespace", "class_name": "Room"}
    made = {"new_tag": "v1", "steps": [{"new_sqlite_classes": ["Room"]}]}
    parts = upload_parts(ROOM, bindings=[binding], migrations=made)
    api.result("PUT", "workers/scripts/room", **parts)
    api.result("POST", "workers/scripts/room/subdomain", json={"enabled": True})
    assert api.result("GET", "workers/workers/room")["home_node"] in NODES
    with ExitStack() as opened:
        here, there = (
            opened.enter_context(_entered(instance, node.http_port)) for node in instance.nodes
        )
        for sender, text in ((here, "from here"), (there, "from there")):
            sender.send(text)
            assert [one.recv(timeout=SECONDS) for one in (here, there)] == [text, text]


def _entered(instance: Instance, port: int) -> ClientConnection:
    """A WebSocket into the room, as soon as a node has the Worker."""
    url = f"ws://{instance.platform.hostname('room')}/"
    deadline = time.monotonic() + SECONDS
    while True:
        plain = socket.create_connection(("127.0.0.1", port))
        try:
            return connect(url, sock=plain)
        except InvalidStatus:
            plain.close()
            assert time.monotonic() < deadline
            time.sleep(0.2)


def _counted(instance: Instance) -> int:
    return int(_row(instance, "SELECT coalesce(sum(requests), 0) AS sum FROM rollups")["sum"])


def _row(instance: Instance, query: LiteralString) -> DictRow:
    (row,) = instance.asked(query)
    return row
