// What `./skerry bench bindings` measures: one operation of one binding for each path.
import { DurableObject } from "cloudflare:workers";

const ROWS = 1000;
const SLOW = `WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?)
  SELECT count(*) AS counted FROM numbers`;

// Counts increments, and remembers how long each message of the queue was on its way.
export class Counter extends DurableObject {
  taken = [];

  async increment() {
    const number = ((await this.ctx.storage.get("number")) ?? 0) + 1;
    await this.ctx.storage.put("number", number);
    return number;
  }

  take(milliseconds) {
    this.taken.push(...milliseconds);
  }

  report() {
    const sorted = this.taken.toSorted((one, other) => one - other);
    const at = (part) => sorted[Math.min(Math.floor(sorted.length * part), sorted.length - 1)] ?? 0;
    return { count: sorted.length, p50: at(0.5), p99: at(0.99) };
  }

  forget() {
    this.taken = [];
  }
}

const counter = (env) => env.COUNTER.getByName("one");
const anyRow = () => 1 + Math.floor(Math.random() * ROWS);

const paths = {
  "/": () => "ready",
  async "/prepare"(env) {
    await env.DB.exec("CREATE TABLE IF NOT EXISTS things (id INTEGER PRIMARY KEY, name TEXT)");
    const add = env.DB.prepare("INSERT OR IGNORE INTO things (id, name) VALUES (?, ?)");
    const rows = Array.from({ length: ROWS }, (_, number) => add.bind(number + 1, `thing ${number}`));
    await env.DB.batch(rows);
    for (let number = 1; number <= 50; number++) await env.KV.put(`key ${number}`, "value".repeat(20));
  },
  "/kv/read": (env) => env.KV.get(`key ${1 + (anyRow() % 50)}`),
  "/kv/write": (env) => env.KV.put(`written ${anyRow()}`, "value".repeat(20)),
  "/d1/query": (env) => env.DB.prepare("SELECT name FROM things WHERE id = ?").bind(anyRow()).first(),
  "/d1/insert": (env) => env.DB.prepare("INSERT INTO things (name) VALUES (?)").bind("one more").run(),
  "/d1/slow": (env, asked) => env.DB.prepare(SLOW).bind(Number(asked.get("n"))).first(),
  "/object/increment": (env) => counter(env).increment(),
  async "/queue/send"(env, asked) {
    await counter(env).forget();
    const sent = { body: { sent: Date.now() } };
    for (let left = Number(asked.get("n")); left > 0; left -= 100) {
      await env.QUEUE.sendBatch(Array(Math.min(left, 100)).fill({ ...sent, body: { sent: Date.now() } }));
    }
  },
  "/queue/report": (env) => counter(env).report(),
};

export default {
  async fetch(request, env) {
    const { pathname, searchParams } = new URL(request.url);
    return Response.json((await paths[pathname](env, searchParams)) ?? null);
  },
  async queue(batch, env) {
    const now = Date.now();
    await counter(env).take(batch.messages.map((message) => now - message.body.sent));
  },
};
