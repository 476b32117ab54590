"""What Durable Objects read and write, as their cells tell it and a node ships it."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.edge.bundles import Bundle, Json
from tests.edge.gateway import Gateway
from tests.edge.nodes import TestNode, running_node, until

pytestmark = pytest.mark.edge

SCRIPT = """
import { DurableObject } from "cloudflare:workers";

// A script that would rather not be counted.
if (HOSTILE) {
  console.log = () => {};
  globalThis.setTimeout = globalThis.queueMicrotask = () => 0;
  Date.now = () => 0;
  Reflect.apply = Reflect.construct = () => { throw new Error("taken"); };
  Function.prototype.call = Array.isArray = Object.keys = () => 0;
}

class Base extends DurableObject {
  kind() { return "of the base"; }
}

export class Modern extends Base {
  kind() { return `modern ${super.kind()}`; }
  // 4 reads, 5 writes.
  async keys() {
    const { storage } = this.ctx;
    await storage.put("a", 1);
    await storage.put({ b: 2, c: 3 });
    await storage.get("a");
    await storage.get(["a", "b"]);
    await storage.list();
    await storage.delete("a");
    await storage.delete(["b"]);
  }
  // 2 reads, 3 writes.
  async transactions() {
    await this.ctx.storage.transaction(async (transaction) => {
      await transaction.get("t");
      await transaction.put("t", 1);
      await transaction.delete("t");
    });
    this.ctx.storage.transactionSync(() => {
      this.ctx.storage.kv.put("s", 1);
      this.ctx.storage.kv.get("s");
    });
  }
  alarm() {}
  // 1 read, 3 writes.
  async alarms() {
    const { storage } = this.ctx;
    await storage.setAlarm(Date.now() + 3600_000_000);
    await storage.getAlarm();
    await storage.deleteAlarm();
    await storage.deleteAll();
  }
  // As many rows as SQLite says, of more cursors than are kept.
  rows() {
    const { sql } = this.ctx.storage;
    const sums = [0, 0];
    const run = (...asked) => {
      const cursor = sql.exec(...asked);
      cursor.toArray();
      sums[0] += cursor.rowsRead;
      sums[1] += cursor.rowsWritten;
    };
    run("CREATE TABLE IF NOT EXISTS rows (number INTEGER)");
    for (let number = 0; number < 300; number++) run("INSERT INTO rows VALUES (?)", number);
    run("SELECT * FROM rows");
    return sums;
  }
  // Cursors that nobody reads to their end.
  halves() {
    const { sql } = this.ctx.storage;
    sql.exec("CREATE TABLE IF NOT EXISTS halves (number INTEGER)");
    sql.exec("INSERT INTO halves VALUES (1), (2), (3)");
    for (let turn = 0; turn < 200; turn++) sql.exec("SELECT * FROM halves").next();
  }
  nature() {
    const { storage } = this.ctx;
    let stack;
    try { storage.sql.exec("nonsense"); } catch (error) { stack = `${error.stack}`; }
    return {
      own: [this.constructor === Modern, this instanceof Modern, this instanceof DurableObject, this.kind()],
      methods: [storage.get === Object.getPrototypeOf(storage).get, storage.get.name, storage.sql.exec.name],
      stack: stack.split("\\n").map((line) => line.trim()).filter((line) => !line.startsWith("at Modern")),
    };
  }
  says(text) { console.log(text); }
}

// As classes were before there was a base, and without SQLite.
export class Old {
  constructor(state) { this.state = state; }
  async fetch() {
    await this.state.storage.put("old", 1);
    return Response.json(await this.state.storage.get("old"));
  }
}

export default {
  async fetch(request, env) {
    const { pathname, searchParams } = new URL(request.url);
    const method = pathname.slice(1);
    if (method === "old") return env.OLD.get(env.OLD.idFromName("one")).fetch(request);
    return Response.json((await env.MODERN.getByName(searchParams.get("of") ?? "one")[method](searchParams.get("text"))) ?? null);
  },
};
"""
EVERYTHING: Json = {"rate": 1.0, "invocations": True, "subrequests": False}


@pytest.fixture(scope="module")
def node(gateway: Gateway, folder: Path) -> Iterator[TestNode]:
    with running_node(gateway, folder) as node:
        yield node


def _deployed(node: TestNode, name: str, hostile: bool = False, **more: Json) -> str:
    objects: list[Json] = [
        {"class_name": "Modern", "namespace_id": uuid.uuid4().hex, "sqlite": True},
        {"class_name": "Old", "namespace_id": uuid.uuid4().hex, "sqlite": False},
    ]
    bindings: list[Json] = [
        {"name": one.upper(), "type": "durable_object_namespace", "class_name": one}
        for one in ("Modern", "Old")
    ]
    source = SCRIPT.replace("HOSTILE", str(hostile).lower())
    bundle = Bundle(source, bindings=bindings, objects=objects, **more)  # type: ignore[arg-type]
    script = node.deploy(name, bundle)
    assert script["state"] == "live", script
    return str(script["script_id"])


def _counted(node: TestNode, script_id: str) -> tuple[int, int]:
    found = [
        (one[3], one[4])
        for batch in list(node.enrolled.batches.values())
        for one in batch["operations"]  # type: ignore[attr-defined]
        if one[1:3] == [script_id, "durable_objects"]
    ]
    return sum(reads for reads, _ in found), sum(writes for _, writes in found)


@pytest.mark.parametrize("way", ["plain", "hostile", "told"])
def test_what_objects_read_and_write_is_counted(node: TestNode, way: str) -> None:
    told: dict[str, Json] = {"observability": EVERYTHING} if way == "told" else {}
    script_id = _deployed(node, f"counted-{way}", hostile=way == "hostile", **told)
    for method in ("keys", "transactions", "alarms"):
        assert node.visit(f"counted-{way}", f"/{method}").json() is None
    read, written = node.visit(f"counted-{way}", "/rows").json()
    assert read >= 300
    assert written >= 300
    assert node.visit(f"counted-{way}", "/old").json() == 1
    expected = (4 + 2 + 1 + read + 1, 5 + 3 + 3 + written + 1)
    until(lambda: _counted(node, script_id) >= expected, 15, "it is told")
    assert _counted(node, script_id) == expected
    assert not [line for line in node.events("log_line") if "skerry-operations" in str(line)]
    stored = [one for batch in list(node.enrolled.logs.values()) for one in batch["events"]]  # type: ignore[attr-defined]
    assert "skerry-operations" not in str(stored)
    if way == "told":
        until(lambda: any("rows" in str(one) for one in stored), 15, "its invocations are stored")


def test_objects_side_by_side_do_not_disturb_each_other(node: TestNode) -> None:
    """The runtime lets no object touch what another one has open."""
    script_id = _deployed(node, "halves")
    for name in ("first", "second", "third"):
        assert node.visit("halves", f"/halves?of={name}").json() is None
    until(lambda: _counted(node, script_id)[0] >= 3 * 200, 15, "what they read is counted")


def test_the_script_sees_its_own_classes_and_methods(node: TestNode) -> None:
    _deployed(node, "nature")
    found = node.visit("nature", "/nature").json()
    assert found["own"] == [True, True, True, "modern of the base"]
    assert found["methods"] == [True, "get", "exec"]
    assert len(found["stack"]) == 1, "no line of ours is in it"


def test_what_a_script_prints_counts_for_nobody_else_and_breaks_nothing(node: TestNode) -> None:
    other, script_id = _deployed(node, "other"), _deployed(node, "forger")
    for text in ("[-5,1]", "[1e300,1]", "[1]", '["x",1]', f'[["{other}",7,7]]', "[true,1]", "{"):
        node.visit("forger", f"/says?text=skerry-operations {text}".replace(" ", "%20"))
    node.visit("forger", "/alarms")
    until(lambda: _counted(node, script_id) == (1, 3), 15, "what it did is counted")
    assert _counted(node, other) == (0, 0)


def test_a_script_without_a_default_export_answers_as_before(node: TestNode) -> None:
    source = """
import { DurableObject, WorkerEntrypoint } from "cloudflare:workers";
export class Modern extends DurableObject { async fetch() { return new Response("never"); } }
export class Way extends WorkerEntrypoint {}
"""
    objects: list[Json] = [
        {"class_name": "Modern", "namespace_id": uuid.uuid4().hex, "sqlite": True}
    ]
    counted = node.deploy("alone", Bundle(source, objects=objects))
    plain = node.deploy("plain", Bundle(source))
    assert counted["state"] == plain["state"]
    assert node.visit("alone").status == node.visit("plain").status
