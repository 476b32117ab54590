"""Durable Objects: the same Worker on Skerry and on `wrangler dev --local`, compared field by field. All is asked
of its own objects, and of those of another Worker."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.conformance.conftest import Both, Site
from tests.platform import SETTLE_SECONDS
from tests.wrangler.conftest import Project

pytestmark = pytest.mark.xdist_group("wrangler")

SCRIPT = r"""
import { DurableObject, RpcTarget } from "cloudflare:workers";

const failure = async (act) => {
  try { return { value: (await act()) ?? null }; }
  catch (error) { return { name: error.name, message: error.message, remote: error.remote ?? null }; }
};

class Handle extends RpcTarget {
  #count = 0;
  add(number) { return (this.#count += number); }
}

export class Sql extends DurableObject {
  async storage() {
    const { storage } = this.ctx;
    await storage.put({ a: 1, b: { deep: [new Date(0), 2n.toString()] }, c: null });
    await storage.put("d", new Map([["x", new Uint8Array([1, 2])]]));
    const listed = await storage.list({ prefix: "", reverse: true, limit: 2 });
    const many = await storage.get(["a", "nothing", "b"]);
    const rolledBack = await failure(() => storage.transaction(async (txn) => {
      await txn.put("a", 2);
      throw new Error("no");
    }));
    return {
      listed: [...listed.keys()],
      many: [...many],
      map: [...(await storage.get("d")).keys()],
      deleted: [await storage.delete("c"), await storage.delete("c"), await storage.delete(["a", "z"])],
      rolledBack,
      tooLong: await failure(() => storage.put("k".repeat(3000), 1)),
      notCloneable: await failure(() => storage.put("f", () => {})),
      kv: [storage.kv.put("s", 5), storage.kv.get("s"), [...storage.kv.list()].length],
    };
  }
  sql() {
    const { sql } = this.ctx.storage;
    sql.exec("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, raw BLOB); CREATE INDEX i ON t (name)");
    const insert = sql.exec("INSERT INTO t (name, raw) VALUES (?, ?), ('two', NULL)", "one", new Uint8Array([9]));
    const cursor = sql.exec("SELECT * FROM t ORDER BY id");
    const first = cursor.next(), rest = [...cursor.raw()];
    const bad = (query, ...values) => {
      try { return sql.exec(query, ...values).toArray(); } catch (error) { return error.message; }
    };
    let undone = null;
    try {
      this.ctx.storage.transactionSync(() => { sql.exec("DELETE FROM t"); throw new Error("back"); });
    } catch (error) { undone = error.message; }
    return {
      written: [insert.rowsRead, insert.rowsWritten],
      columns: cursor.columnNames,
      first: { ...first, value: { ...first.value, raw: [...new Uint8Array(first.value.raw)] } },
      rest,
      undone,
      count: sql.exec("SELECT count(*) AS n FROM t").one(),
      bad: [bad("SELECT nonsense"), bad("SELECT ?"), bad("PRAGMA journal_mode"), bad("BEGIN"), bad("SELECT * FROM _cf_KV")],
      size: sql.databaseSize > 0,
    };
  }
  async ring(milliseconds) {
    await this.ctx.storage.setAlarm(Date.now() + milliseconds);
    return Math.abs((await this.ctx.storage.getAlarm()) - Date.now()) < milliseconds + 1000;
  }
  async alarm(info) {
    const tries = ((await this.ctx.storage.get("tries")) ?? 0) + 1;
    await this.ctx.storage.put("tries", tries);
    await this.ctx.storage.put("rang", { tries, ...info, name: this.ctx.id.name });
    if (tries === 1) throw new Error("once more");
  }
  async rang() {
    const { scheduledTime, ...rest } = (await this.ctx.storage.get("rang")) ?? {};
    return { ...rest, alarm: await this.ctx.storage.getAlarm() };
  }
  get property() { return "a property"; }
  fails() { throw new RangeError("too much"); }
  handle() { return new Handle(); }
  async call(back) { return `${await back("from the object")}!`; }
  stream() { return new Blob(["streamed"]).stream(); }
  clear() { return this.ctx.storage.deleteAll(); }
  fetch(request) {
    if (request.url.endsWith("/throws")) throw new TypeError("thrown by fetch");
    if (request.headers.get("Upgrade") !== "websocket") {
      return Response.json({ url: request.url, name: this.ctx.id.name, method: request.method });
    }
    const { 0: client, 1: server } = new WebSocketPair();
    this.ctx.acceptWebSocket(server, ["tagged"]);
    server.serializeAttachment({ seen: 0 });
    this.ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair("ping", "pong"));
    return new Response(null, { status: 101, webSocket: client });
  }
  webSocketMessage(socket, message) {
    const { seen } = socket.deserializeAttachment();
    socket.serializeAttachment({ seen: seen + 1 });
    const told = typeof message === "string" ? message : [...new Uint8Array(message)];
    const tagged = this.ctx.getWebSockets("tagged").length;
    socket.send(JSON.stringify({ told, seen, tagged, tags: this.ctx.getTags(socket) }));
    if (message === "bye") socket.close(4001, "as asked");
  }
}

export class Keys extends DurableObject {
  async sql() { return failure(() => this.ctx.storage.sql.exec("SELECT 1").one()); }
  async keys() { await this.ctx.storage.put("x", 1); return this.ctx.storage.get("x"); }
}

async function ids({ SQL }) {
  const named = SQL.idFromName("some"), unique = SQL.newUniqueId();
  return {
    name: named.name,
    length: [named.toString().length, unique.toString().length],
    equal: [named.equals(SQL.idFromName("some")), named.equals(unique), SQL.idFromString(`${named}`).equals(named)],
    stub: [SQL.get(named).id.toString() === `${named}`, SQL.get(named).name, SQL.getByName("some").name],
    bad: await failure(() => SQL.idFromString("nonsense")),
    foreign: await failure(() => SQL.idFromString("a".repeat(64))),
    jurisdiction: await failure(() => SQL.newUniqueId({ jurisdiction: "eu" }).toString().length),
    below: await failure(() => SQL.jurisdiction("eu").idFromName("x").toString().length),
    hint: await failure(() => SQL.get(named, { locationHint: "weur" }).property),
  };
}

async function rpc({ SQL }) {
  const stub = SQL.getByName("rpc");
  using handle = await stub.handle();
  return {
    property: await stub.property,
    fails: await failure(() => stub.fails()),
    missing: await failure(() => stub.nothing()),
    handle: [await handle.add(2), await handle.add(3)],
    pipelined: await stub.handle().add(7),
    back: await stub.call((text) => `heard ${text}`),
    stream: await new Response(await stub.stream()).text(),
    fetch: await (await stub.fetch("https://object/path?q=1", { method: "PUT" })).json(),
    throws: await failure(() => stub.fetch("https://object/throws")),
  };
}

async function socket({ SQL }) {
  const answer = await SQL.getByName("socket").fetch("https://object/", { headers: { Upgrade: "websocket" } });
  const { webSocket } = answer;
  webSocket.accept();
  const heard = [];
  const closed = new Promise((done) => webSocket.addEventListener("close", ({ code, reason }) => done({ code, reason })));
  webSocket.addEventListener("message", ({ data }) => heard.push(data));
  for (const message of ["hello", new Uint8Array([1, 2]), "ping", "bye"]) webSocket.send(message);
  return { status: answer.status, closed: await closed, heard };
}

export default {
  async fetch(request, env, ctx) {
    const [, far, path] = /^(\/far)?(.*)$/.exec(new URL(request.url).pathname);
    if (far) env = { ...env, SQL: env.FAR_SQL, KEYS: env.FAR_KEYS };
    const stub = env.SQL.getByName("main"), alarms = env.SQL.getByName("alarms");
    const pages = {
      "/storage": () => stub.storage(),
      "/sql": () => env.SQL.getByName("sql").sql(),
      "/keys": async () => ({ sql: await env.KEYS.getByName("x").sql(), keys: await env.KEYS.getByName("x").keys() }),
      "/ids": () => ids(env),
      "/rpc": () => rpc(env),
      "/socket": () => socket(env),
      "/ring": () => alarms.ring(100),
      "/rang": () => alarms.rang(),
      "/exports": async () => Object.keys(ctx.exports).filter((name) => !name.startsWith("__")).sort(),
      "/clear": async () => [await stub.clear() ?? null, await failure(() => stub.storage())],
    };
    return Response.json(pages[path] ? await pages[path]() : null);
  },
};
"""
COMPARED = ("/storage", "/sql", "/keys", "/ids", "/rpc", "/socket", "/exports", "/clear")


def rang(site: Site, far: str) -> Any:
    """What an alarm was told that failed once and was called again."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while (found := site.ask("GET", f"{far}/rang").json()).get("tries") != 2:
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    return found


def test_the_same_objects(both: Callable[..., Both], project: Project) -> None:
    owner = f"{project.name}-owner"
    own = [{"name": "SQL", "class_name": "Sql"}, {"name": "KEYS", "class_name": "Keys"}]
    far = [{**one, "name": f"FAR_{one['name']}", "script_name": owner} for one in own]
    config = {
        "compatibility_date": "2026-11-01",
        "migrations": [{"tag": "v1", "new_sqlite_classes": ["Sql"], "new_classes": ["Keys"]}],
    }
    owning = {**config, "name": owner, "main": "index.js", "durable_objects": {"bindings": own}}
    project.write({"index.js": SCRIPT, "owner.json": json.dumps(owning)})
    project.configure(**config, durable_objects={"bindings": [*own, *far]})
    sites = both("owner.json")
    for path in (*COMPARED, *(f"/far{path}" for path in COMPARED)):
        ours, local = sites.answers(path, ["content-type"])
        assert ours == local, path
        assert ours["status"] == 200, ours
    for far_or_not in ("", "/far"):
        assert sites.answers(f"{far_or_not}/ring", []) == [{"status": 200, "body": "true"}] * 2
        assert rang(sites.skerry, far_or_not) == rang(sites.local, far_or_not)
