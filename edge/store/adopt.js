// Takes over what a node's disk has into a bucket: `./skerry storage move`. It stands in the place of an
// account's store while none runs, and has its objects, without their own code.
//
// GET /objects/ID counts the rows of each table. POST takes lines of JSON, `[sql, values…]`, and runs all of
// them or none; DELETE makes it empty. PUT and GET /files/NAME write and read a file.

import { DurableObject } from "cloudflare:workers";
import { filesOf } from "./shared.js";

const LATER_MS = 60_000;
const quoted = (name) => `"${name.replaceAll('"', '""')}"`;

class Adopted extends DurableObject {
  counts() {
    const { sql } = this.ctx.storage;
    const tables = sql.exec(
      "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT GLOB 'sqlite_*' AND name NOT GLOB '_cf_*'",
    );
    const names = tables.toArray().map(({ name }) => name);
    return Object.fromEntries(
      names.map((name) => [name, sql.exec(`SELECT count(*) AS n FROM ${quoted(name)}`).one().n]),
    );
  }

  async fetch(request) {
    if (request.method === "DELETE") await this.ctx.storage.deleteAll();
    if (request.method === "POST") {
      // All of it first: the transaction must not wait for anything.
      const lines = (await request.text()).split("\n").filter(Boolean);
      // A row may refer to one that comes later, in another piece even.
      this.ctx.storage.sql.exec("PRAGMA foreign_keys = OFF");
      this.ctx.storage.transactionSync(() => this.#run(lines));
      // What its own code does later, deleting what has expired for example, it plans when it wakes up.
      if (this.plans) await this.alarm();
    }
    return Response.json(this.counts());
  }

  #run(lines) {
    const { sql } = this.ctx.storage;
    for (const line of lines) {
      const [statement, ...values] = JSON.parse(line);
      sql.exec(statement, ...values.map(read));
    }
  }

  // Not yet its own code's turn.
  alarm() {
    return this.ctx.storage.setAlarm(Date.now() + LATER_MS);
  }
}

const read = (value) => (typeof value === "string" ? value : Uint8Array.fromBase64(value.base64));

export class KVNamespace extends Adopted {
  plans = true;
}
export class D1Database extends Adopted {}
export class Bucket extends Adopted {}
export class Queues extends Adopted {}

export default {
  async fetch(request, env) {
    const [, kind, ...rest] = new URL(request.url).pathname.split("/");
    if (kind === "objects") {
      const namespace = env.SHARD ?? env.DATABASE ?? env.BUCKET ?? env.QUEUES;
      return namespace.get(namespace.idFromString(rest[0])).fetch(request);
    }
    const { method, body } = request;
    return filesOf(env).fetch(`http://blobs/${rest.join("/")}`, { method, body });
  },
};
