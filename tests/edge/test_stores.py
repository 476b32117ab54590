"""Stores: an account's data behind native bindings and behind the agent's API, one process a kind."""

import concurrent.futures
import contextlib
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from edge.agent.stores.tickets import Tickets
from edge.paths import NodePaths
from edge.runtime.binary import CHECKOUT
from edge.runtime.sandbox import first_uid
from edge.runtime.trial import UnixConnection
from tests.edge.bundles import ACCOUNT_ID, Bundle, Json
from tests.edge.gateway import Gateway
from tests.edge.nodes import Answer, TestNode, running_node, until

KV = """
export default {
  async fetch(request, env) {
    const url = new URL(request.url);
    const key = decodeURIComponent(url.pathname.slice(1));
    try {
      if (request.method === "PUT") {
        const options = url.searchParams.get("options");
        await env.KV.put(key, request.body ?? "", options ? JSON.parse(options) : undefined);
        return new Response("put");
      }
      if (request.method === "DELETE") return new Response(await env.KV.delete(key));
      if (url.searchParams.has("list")) {
        return Response.json(await env.KV.list(JSON.parse(url.searchParams.get("list"))));
      }
      const { value, metadata } = await env.KV.getWithMetadata(key, "arrayBuffer");
      if (value === null) return new Response("nothing", { status: 404 });
      return new Response(value, { headers: { "x-metadata": JSON.stringify(metadata) } });
    } catch (error) {
      return new Response(error.message, { status: 400 });
    }
  },
};
"""


def bound(namespace: str) -> Bundle:
    binding: Json = {"name": "KV", "type": "kv_namespace", "namespace_id": namespace}
    return Bundle(KV, bindings=[binding])


@pytest.fixture(scope="module")
def node(gateway: Gateway, folder: Path) -> Iterator[TestNode]:
    with running_node(
        gateway, folder, SKERRY_IDLE_SECONDS="2", SKERRY_STORE_CPU_SECONDS="2"
    ) as node:
        assert node.deploy("one", bound("first"))["state"] == "live"
        assert node.deploy("two", bound("second"))["state"] == "live"
        yield node


def ask(
    node: TestNode,
    method: str,
    path: str,
    body: bytes | None = None,
    namespace: str = "first",
    account: str = ACCOUNT_ID,
    **arguments: str,
) -> Answer:
    """As the control plane asks."""
    target = f"/stores/kv/{account}/{namespace}{path}"
    return Answer(*node.gateway.ask(node.enrolled, method, target, body, **arguments))


def test_what_one_door_writes_the_next_read_by_another_sees(node: TestNode) -> None:
    assert node.visit("one", "/greeting", "PUT", b"hello").text == "put"
    assert ask(node, "GET", "/greeting?urlencoded=true").text == "hello"

    assert ask(node, "PUT", "/greeting?urlencoded=true", b"changed").status == 200
    assert node.visit("one", "/greeting").text == "changed"

    assert node.visit("one", "/greeting", "DELETE").status == 200
    gone = ask(node, "GET", "/greeting?urlencoded=true")
    assert (gone.status, gone.headers["x-skerry-reason"]) == (404, "Not Found")


def test_a_namespace_holds_its_own_keys(node: TestNode) -> None:
    node.visit("one", "/mine", "PUT", b"of the first")
    assert node.visit("two", "/mine").status == 404
    assert ask(node, "GET", "/mine", namespace="second").status == 404


def test_large_values_and_odd_keys(node: TestNode) -> None:
    large = os.urandom(25 * 1024 * 1024)
    assert node.visit("one", "/large", "PUT", large).text == "put"
    assert node.visit("one", "/large").body == large
    assert ask(node, "GET", "/large").body == large
    too_large = node.visit("one", "/large", "PUT", large + b"!")
    assert (too_large.status, "exceeds" in too_large.text) == (400, True)
    assert node.visit("one", "/large").body == large

    for key in ("a/b c", "ä €", "100%", "?&#", "x" * 512):
        path = quote(key, safe="")
        assert node.visit("one", f"/{path}", "PUT", key.encode()).text == "put", key
        assert ask(node, "GET", f"/{path}").text == key
    assert node.visit("one", "/" + "x" * 513, "PUT", b"").status == 400


def test_a_ticket_opens_one_namespace_of_one_account(node: TestNode) -> None:
    """Whoever could open the socket reads nothing without the ticket of this very account."""
    node.visit("one", "/secret", "PUT", b"42")
    other = "b" * 32
    assert ask(node, "PUT", "/secret", b"43", account=other).status == 200
    path = NodePaths.of(node.folder).store_socket(ACCOUNT_ID, "kv")
    mac = "0" * 64
    for ticket in (
        "",
        "first",
        f"first.{mac}",
        _ticket(node, other),
        _ticket(node, ACCOUNT_ID, "d1"),
    ):
        connection = UnixConnection(str(path), 10)
        connection.request("GET", "/secret", headers={"x-skerry-binding": ticket})
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (403, b""), ticket
        connection.close()
    connection = UnixConnection(str(path), 10)
    connection.request("GET", "/secret", headers={"x-skerry-binding": _ticket(node, ACCOUNT_ID)})
    assert connection.getresponse().read() == b"42"
    connection.close()


def _ticket(node: TestNode, account: str, kind: str = "kv") -> str:
    key = NodePaths.of(node.folder).node_key.read_bytes()
    return Tickets(key).ticket(account, kind, "first")


def test_no_control_plane_no_store(node: TestNode) -> None:
    refused = ask(node, "GET", "/greeting", push_key="wrong")
    assert refused.status == 401
    assert node.gateway.ask(node.enrolled, "GET", "/stores/disk/x/y/z")[0] == 503
    assert node.gateway.ask(node.enrolled, "GET", "/stores/kv/..%2f..%2fx/y/z")[0] == 404


def test_a_store_is_a_process_of_the_accounts_user_with_only_its_data(node: TestNode) -> None:
    if os.geteuid() != 0:
        pytest.skip("a user per account needs root")
    node.visit("one", "/here", "PUT", b"1")
    (pid,) = node.pids(f"store:kv-{ACCOUNT_ID}")
    status = Path(f"/proc/{pid}/status").read_text()
    (uids,) = [line.split()[1:] for line in status.splitlines() if line.startswith("Uid:")]
    first = first_uid(node.folder.resolve())
    assert {int(uid) for uid in uids} == {int(uids[0])}
    assert first < int(uids[0]) < first + 100_000
    inside = Path(f"/proc/{pid}/root")
    assert sorted(one.name for one in (inside / "data").iterdir()) == ["blobs", "objects"]
    assert not (inside / "doors").exists()
    assert str(node.folder) not in Path("/proc/mounts").read_text()


def test_a_store_at_rest_is_started_by_whoever_needs_it(node: TestNode) -> None:
    node.visit("one", "/kept", "PUT", b"through the rest")
    role = f"store:kv-{ACCOUNT_ID}"
    until(lambda: not node.pids(role), 15, "the store rests")
    assert node.events("store_rests")
    assert not node.events("cell_died")
    assert node.visit("one", "/kept").text == "through the rest"
    assert len(node.pids(role)) == 1


def test_a_restarted_agent_takes_over_its_stores(node: TestNode) -> None:
    node.visit("one", "/kept", "PUT", b"through the restart")
    (pid,) = node.pids(f"store:kv-{ACCOUNT_ID}")
    node.kill_agent()
    assert node.visit("one", "/kept").text == "through the restart"
    node.start()
    assert node.visit("one", "/kept").text == "through the restart"
    assert node.pids(f"store:kv-{ACCOUNT_ID}") == [pid]


def test_a_node_without_the_data_refuses_what_binds_it(node: TestNode) -> None:
    decided = node.gateway.decide(node.enrolled, "elsewhere", bound("first"))
    decided["data_node"] = "edge-0"
    answer = node.gateway.push(node.enrolled, decided, files=bound("first").files())
    (said,) = answer["slots"]  # type: ignore[misc]
    assert said["state"] == "failed"
    assert "edge-0" in said["reason"]


def test_a_copy_of_all_data_while_the_store_runs(node: TestNode, tmp_path: Path) -> None:
    node.visit("one", "/copied", "PUT", b"x" * 100_000)
    command = [sys.executable, "-m", "edge.agent", "snapshot", "--dir", str(node.folder)]
    subprocess.run([*command, "--to", str(tmp_path)], cwd=CHECKOUT, check=True)
    assert node.visit("one", "/copied").status == 200
    found: list[tuple[str]] = []
    for path in tmp_path.glob(f"{ACCOUNT_ID}/kv/objects/KVNamespace/*.sqlite"):
        with contextlib.closing(sqlite3.connect(path)) as copy:
            if copy.execute("SELECT 1 FROM sqlite_schema WHERE name = 'entries'").fetchone():
                found += copy.execute("SELECT blob FROM entries WHERE key = 'copied'")
    ((blob,),) = found
    assert (tmp_path / ACCOUNT_ID / "kv" / "blobs" / blob).read_bytes() == b"x" * 100_000


def test_many_keys_at_once(node: TestNode) -> None:
    pairs = b'[{"key":"b/1","value":"one","metadata":{"a":1}},{"key":"b/2","value":"dHdv","base64":true},'
    pairs += b'{"key":"b/3","value":"","expiration_ttl":1}]'
    answer = ask(node, "POST", "/bulk/put", pairs).json()
    assert answer["failed"] == [
        {"key": "b/3", "status": 400, "reason": answer["failed"][0]["reason"]}  # type: ignore[index]
    ]
    assert node.visit("one", "/b%2F1").headers["x-metadata"] == '{"a":1}'
    assert node.visit("one", "/b%2F2").text == "two"
    assert ask(node, "POST", "/bulk/delete", b'["b/1","b/2"]').json() == {"failed": []}
    assert node.visit("one", "/b%2F1").status == 404


def test_a_destroyed_namespace_leaves_nothing(node: TestNode) -> None:
    assert ask(node, "PUT", "/small", b"x" * 100, namespace="gone").status == 200
    assert ask(node, "PUT", "/large", b"y" * 100_000, namespace="gone").status == 200
    blobs = NodePaths.of(node.folder).store_data(ACCOUNT_ID, "kv") / "blobs"
    before = len(list(blobs.rglob("*")))
    assert ask(node, "POST", "/destroy", namespace="gone").status == 200
    assert len(list(blobs.rglob("*"))) < before
    assert node.visit("one", "/secret").status == 200


D1 = """
export default {
  async fetch(request, env) {
    try {
      const { results, meta } = await env.DB.prepare(await request.text()).all();
      return Response.json({ results, changes: meta.changes });
    } catch (error) {
      return new Response(error.message, { status: 400 });
    }
  },
};
"""
SPIN = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT max(n) FROM c"


def test_a_query_that_never_ends_is_ended_and_stalls_no_other_kind(node: TestNode) -> None:
    """SKERRY_STORE_CPU_SECONDS is 2 here. KV has a process of its own, so it goes on meanwhile."""
    bundle = Bundle(D1, bindings=[{"name": "DB", "type": "d1", "id": "database"}])
    assert node.deploy("sql", bundle)["state"] == "live"
    node.visit("sql", method="POST", body=b"CREATE TABLE t (n INTEGER)")
    added = node.visit("sql", method="POST", body=b"INSERT INTO t VALUES (1)").json()
    assert added["changes"] == 1
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        spinning = pool.submit(node.visit, "sql", "/", "POST", SPIN.encode())
        until(lambda: node.pids(f"store:d1-{ACCOUNT_ID}"), 10)
        assert node.visit("one", "/beside", "PUT", b"1").text == "put"
        assert not spinning.done()
        assert spinning.result().status == 400
    kept = node.visit("sql", method="POST", body=b"SELECT n FROM t").json()
    assert kept["results"] == [{"n": 1}]
    (killed,) = [one for one in node.events("cell_killed") if "d1" in str(one["cell"])]
    assert killed["reason"] == "exceeded_cpu"
    target = f"/stores/d1/{ACCOUNT_ID}/database/query"
    status, headers, _ = node.gateway.ask(
        node.enrolled, "POST", target, json.dumps({"sql": SPIN}).encode()
    )
    assert (status, headers["x-skerry-outcome"]) == (503, "exceeded_cpu")


EVERY = """
export default {
  async fetch(request, { KV, D1, R2, Q }) {
    await KV.put("a", "1");
    await KV.get("a");
    await KV.get(["a", "b"]);
    await KV.list();
    await KV.delete("a");
    await D1.exec("CREATE TABLE IF NOT EXISTS t (n)");
    await D1.batch([1, 2, 3].map((n) => D1.prepare("INSERT INTO t VALUES (?)").bind(n)));
    await D1.prepare("SELECT * FROM t").all();
    await R2.put("o", "x");
    await (await R2.get("o")).text();
    await R2.head("o");
    await R2.list();
    await R2.delete("o");
    await Q.send(1);
    await Q.sendBatch([{ body: 2 }, { body: 3 }]);
    return new Response("done");
  },
};
"""


def test_what_a_script_does_is_counted(node: TestNode) -> None:
    bindings: list[Json] = [
        {"name": "KV", "type": "kv_namespace", "namespace_id": "counted"},
        {"name": "D1", "type": "d1", "id": "counted"},
        {"name": "R2", "type": "r2_bucket", "bucket_name": "counted"},
        {"name": "Q", "type": "queue", "queue_name": "counted"},
    ]
    script = node.deploy("every", Bundle(EVERY, bindings=bindings))
    assert script["state"] == "live"
    # Of the control plane, which is no script; nor does it get to be one by saying so.
    ask(node, "PUT", "/x?urlencoded=true", b"x", namespace="counted")
    visits = 3
    for _ in range(visits):
        assert node.visit("every", "/").text == "done"

    def counted() -> dict[str, tuple[int, int]]:
        sums: dict[str, tuple[int, int]] = {}
        for batch in list(node.enrolled.batches.values()):
            for _, script_id, kind, reads, writes in batch["operations"]:  # type: ignore[attr-defined]
                before = sums.get(kind, (0, 0))
                if script_id == script["script_id"]:
                    sums[kind] = (before[0] + reads, before[1] + writes)
        return sums

    expected = {"kv": (4, 2), "r2": (3, 2), "queues": (0, 3)}
    until(lambda: len(counted()) == 4 and counted()["queues"][1] >= 9, 15, "it is told")
    found = counted()
    reads, writes = found.pop("d1")
    assert reads >= 3 + 6 + 9
    assert writes >= 9
    assert found == {kind: (r * visits, w * visits) for kind, (r, w) in expected.items()}
    assert not [line for line in node.events("log_line") if "skerry-operations" in str(line)]
