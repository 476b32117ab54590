"""Workers that use storage: `POST /NAME` does what the test of that name does, and says everything it saw."""

ALL = """
const said = async (work) => { try { return await work(); } catch (error) { return `${error.constructor.name}: ${error.message}`; } };
const each = async (works) => { const told = {}; for (const [name, work] of Object.entries(works)) told[name] = await said(work); return told; };
export default {
  async fetch(request, env, ctx) {
    return Response.json(await TESTS[new URL(request.url).pathname.slice(1)](env, ctx));
  },
  async queue(batch, env) {
    for (const { id, body } of batch.messages) await env.KV.put(`got/${id}`, JSON.stringify(described(body)));
  },
};
function described(body) {
  if (body instanceof ArrayBuffer || ArrayBuffer.isView(body)) return ["bytes", ...new Uint8Array(body)];
  if (body instanceof Map) return ["map", ...body.entries()];
  if (body instanceof Date) return ["date", body.toISOString()];
  return [typeof body, body];
}
"""
KV = """
const TESTS = {
  async values({ KV }) {
    await KV.put("text", "wörld"); await KV.put("json", '{"a":[1,"ä"]}'); await KV.put("number", 7);
    await KV.put("bytes", new Uint8Array([0, 255, 3])); await KV.put("buffer", new Uint8Array([1, 2]).buffer);
    await KV.put("stream", new Response("from a stream").body);
    await KV.put("a/b c?d#e%2F", "odd"); await KV.put("ключ", "wide"); await KV.put("bulk/get", "no bulk");
    return each({
      text: () => KV.get("text"), json: () => KV.get("json", "json"), typed: () => KV.get("json", { type: "json" }),
      number: () => KV.get("number"), bytes: async () => [...new Uint8Array(await KV.get("bytes", "arrayBuffer"))],
      buffer: async () => (await KV.get("buffer", "arrayBuffer")).byteLength,
      stream: async () => new Response(await KV.get("stream", { type: "stream", cacheTtl: 60 })).text(),
      odd: () => KV.get("a/b c?d#e%2F"), wide: () => KV.get("ключ"), bulk: () => KV.get("bulk/get"),
      nothing: () => KV.get("nothing"), typedNothing: () => KV.get("nothing", "json"), deleted: async () => [await KV.delete("text"), await KV.get("text"), await KV.delete("text")],
    });
  },
  async metadata({ KV }) {
    await KV.put("m", "v", { metadata: { a: "üж", b: [1] }, expirationTtl: 3600 });
    const { keys: [{ expiration, ...key }], ...rest } = await KV.list({ prefix: "m" });
    return [await KV.getWithMetadata("m"), await KV.getWithMetadata("m", { type: "text" }), await KV.getWithMetadata("none", "json"),
      key, rest, Math.abs(expiration - Date.now() / 1000 - 3600) < 60];
  },
  async many({ KV }) {
    for (const key of ["k1", "k2"]) await KV.put(key, `{"of":"${key}"}`, { metadata: { key } });
    return each({
      text: async () => [...await KV.get(["k1", "none", "k2"])], json: async () => [...await KV.get(["k1", "k2"], "json")],
      meta: async () => [...await KV.getWithMetadata(["k2", "none"], { type: "json" })],
      wrong: () => KV.get(["k1"], "stream"), none: () => KV.get([]), tooMany: () => KV.get(Array.from({ length: 101 }, (_, n) => `${n}`)),
    });
  },
  async lists({ KV }) {
    for (const key of ["l/1", "l/2", "l/3", "l/ü"]) await KV.put(key, "");
    const first = await KV.list({ prefix: "l/", limit: 3 });
    const rest = await KV.list({ prefix: "l/", cursor: first.cursor });
    return [first.keys, first.list_complete, Object.keys(first), rest, await KV.list({ prefix: "none", limit: 0 }), await KV.list({ prefix: null, limit: 1 }).then((l) => l.keys)];
  },
  async refusals({ KV }) {
    const told = await each({
      empty: () => KV.get(""), dot: () => KV.put(".", "x"), dots: () => KV.delete(".."), long: () => KV.get("ä".repeat(257)), longPut: () => KV.put("k".repeat(513), ""),
      type: () => KV.get("nothing", "blob"), object: () => KV.put("x", { a: 1 }), ttl: () => KV.put("x", "v", { expirationTtl: 1 }),
      past: () => KV.put("x", "v", { expiration: 5 }), limit: () => KV.list({ limit: 1001 }), cursor: () => KV.list({ cursor: "!" }),
      metadata: () => KV.put("x", "v", { metadata: "m".repeat(2000) }), cache: () => KV.get("x", { cacheTtl: 1 }),
    });
    return [told, await KV.get("x"), KV.constructor.name];
  },
  async unparsable({ KV }) { await KV.put("not", "{json"); return said(() => KV.get("not", "json")); },
};
"""
D1 = """
const TESTS = {
  async queries({ DB }) {
    const told = await each({
      exec: async () => (await DB.exec("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, data BLOB, n REAL)\\nCREATE INDEX i ON t (name)")).count,
      insert: () => DB.prepare("INSERT INTO t (name, data, n) VALUES (?, ?, ?)").bind("ä", new Uint8Array([1, 255]), 1.5).run(),
      more: () => DB.prepare("INSERT INTO t (name, data, n) VALUES (?1, ?2, ?3) RETURNING *").bind("b", null, true).all(),
      all: () => DB.prepare("SELECT * FROM t ORDER BY id").all(), raw: () => DB.prepare("SELECT id, name FROM t").raw(),
      columns: () => DB.prepare("SELECT id, name FROM t").raw({ columnNames: true }), first: () => DB.prepare("SELECT name, n FROM t WHERE id = ?").bind(1).first(),
      column: () => DB.prepare("SELECT name FROM t").first("name"), nothing: () => DB.prepare("SELECT 1 FROM t WHERE id = 99").first(),
      same: () => DB.prepare("SELECT 1 AS a, 2 AS a").all(), noRows: () => DB.prepare("SELECT * FROM t WHERE 0").all(), values: () => DB.prepare("SELECT 9007199254740993, 1e300, 'x', NULL, x'00ff'").raw(),
      run: () => DB.prepare("SELECT count(*) AS n FROM t").run(),
    });
    return told;
  },
  async batches({ DB }) {
    await DB.exec("CREATE TABLE b (n INTEGER UNIQUE)");
    const insert = DB.prepare("INSERT INTO b VALUES (?)");
    const told = await each({
      good: () => DB.batch([insert.bind(1), insert.bind(2), DB.prepare("SELECT n FROM b")]),
      bad: () => DB.batch([insert.bind(3), insert.bind(1)]), empty: () => DB.batch([]),
    });
    return [told, await DB.prepare("SELECT n FROM b").raw()];
  },
  async sessions({ DB }) {
    const session = DB.withSession("first-primary");
    const before = session.getBookmark();
    const rows = await session.prepare("SELECT 1 AS one").all();
    const batch = await session.batch([session.prepare("SELECT 2 AS two")]);
    return [before, rows.results, batch[0].results, typeof session.getBookmark(), DB.withSession().getBookmark(), DB.withSession(" 1-2 ").getBookmark()];
  },
  async refusals({ DB }) {
    return each({
      syntax: () => DB.prepare("SELEC 1").all(), table: () => DB.prepare("SELECT * FROM nowhere").first(), column: () => DB.prepare("SELECT 1 AS a").first("b"),
      type: () => DB.prepare("SELECT ?").bind(undefined), symbol: () => DB.prepare("SELECT ?").bind(() => 1), few: () => DB.prepare("SELECT ?1, ?2").bind(1).all(),
      exec: () => DB.exec("SELECT 1\\nSELEC 2"), cause: async () => DB.prepare("SELEC 1").run().catch((error) => error.cause.message), name: () => DB.constructor.name,
    });
  },
};
"""
QUEUES = """
const TESTS = {
  async sends({ Q }) {
    return each({
      json: () => Q.send({ a: [1, "ä"] }), text: () => Q.send("text", { contentType: "text" }), bytes: () => Q.send(new Uint8Array([0, 255]), { contentType: "bytes" }),
      v8: () => Q.send(new Map([["k", new Date(0)]]), { contentType: "v8" }),
      batch: () => Q.sendBatch([{ body: "one" }, { body: "two", contentType: "text" }, { body: new Date(5), contentType: "v8" }]),
      later: () => Q.send("late", { delaySeconds: 3600 }), laterBatch: () => Q.sendBatch([{ body: "late" }, { body: "also", delaySeconds: 5000 }], { delaySeconds: 4000 }),
    });
  },
  async refusals({ Q }) {
    return each({
      nothing: () => Q.send(undefined), type: () => Q.send("x", { contentType: "xml" }), text: () => Q.send(1, { contentType: "text" }), bytes: () => Q.send("x", { contentType: "bytes" }),
      empty: () => Q.sendBatch([]), large: () => Q.send("x".repeat(130000)), many: () => Q.sendBatch(Array.from({ length: 101 }, () => ({ body: 1 }))),
      delay: () => Q.send("x", { delaySeconds: 90000 }), name: () => Q.constructor.name,
    });
  },
  async received({ KV }) {
    const { keys } = await KV.list({ prefix: "got/" });
    return (await Promise.all(keys.map(({ name }) => KV.get(name)))).sort();
  },
};
"""
