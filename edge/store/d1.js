// D1 of one account: workerd's own server, whose database is the one that the binding opens. On top
// of the runtime's protocol, for the agent only: facts about a database, a dump, the import of a file
// of SQL, and its end.

import server, { D1Database as Database } from "bundled-d1.js";
import { count, scriptOf } from "counting.js";
import { opened } from "door.js";
import { awake, filesOf } from "shared.js";

// Counts what statements read and wrote, in rows.
export class D1 extends server {
  constructor(ctx, env) {
    super(ctx, { ...env, DATABASE: ctx.props.script ? counting(env.DATABASE, ctx) : env.DATABASE });
  }
}

function counting(databases, ctx) {
  return {
    idFromName: (name) => databases.idFromName(name),
    get(id) {
      const object = databases.get(id);
      return {
        dump: (...options) => object.dump(...options),
        async run(queries, bookmarked) {
          const done = await object.run(queries, bookmarked);
          const sum = (field) => done.results.reduce((before, { meta }) => before + meta[field], 0);
          count(ctx.props.script, ctx, sum("rows_read"), sum("rows_written"));
          return done;
        },
      };
    },
  };
}

export class D1Database extends Database {
  ping() {}

  facts() {
    const { sql } = this.ctx.storage;
    const tables = sql.exec(
      "SELECT count(*) AS n FROM sqlite_schema WHERE type = 'table' " +
        "AND name NOT GLOB 'sqlite_*' AND name NOT GLOB '_cf_*'",
    );
    return { num_tables: tables.one().n, file_size: sql.databaseSize };
  }

  // All of the file or nothing of it.
  async ingest(file) {
    const content = await filesOf(this.env).fetch(url(file));
    if (!content.ok) return { error: "The file was not uploaded, or has been imported already." };
    const done = { num_queries: 0, rows_read: 0, rows_written: 0 };
    try {
      await this.ctx.storage.transaction(() => this.#run(content.body, done));
    } catch (error) {
      return { error: String(error.message ?? error) };
    }
    return { ...done, size_after: this.ctx.storage.sql.databaseSize };
  }

  async #run(body, done) {
    let rest = "";
    const run = (text) => {
      const { remainder, statementCount, rowsRead, rowsWritten } =
        this.ctx.storage.sql.ingest(text);
      done.num_queries += statementCount;
      done.rows_read += rowsRead;
      done.rows_written += rowsWritten;
      return remainder;
    };
    for await (const text of body.pipeThrough(new TextDecoderStream())) rest = run(rest + text);
    if (rest.trim()) run(`${rest};`);
  }

  // For a page: of each statement no more rows are read than it shows, and long values are cut. All
  // statements are one transaction.
  glance({ statements, rows, characters }) {
    let at = 0;
    try {
      return this.ctx.storage.transactionSync(() =>
        statements.map((one, index) => {
          at = index;
          return this.#glance(one, rows, characters);
        }),
      );
    } catch (error) {
      return { error: String(error.message ?? error), statement: at };
    }
  }

  #glance({ sql, params }, most, characters) {
    const cursor = this.ctx.storage.sql.exec(sql, ...params);
    const rows = [];
    let more = false;
    for (const row of cursor.raw()) {
      more = rows.length === most;
      if (more) break;
      rows.push(row.map((value) => shown(value, characters)));
    }
    const { columnNames: columns, rowsRead: rows_read, rowsWritten: rows_written } = cursor;
    return { columns, rows, more, rows_read, rows_written };
  }

  async destroy() {
    await this.ctx.storage.deleteAll();
  }
}

export default {
  async fetch(request, env, ctx) {
    const database = await opened(request, env);
    if (database === null) return new Response(null, { status: 403, statusText: "Forbidden" });
    const { pathname } = new URL(request.url);
    const object = await awake(env, env.DATABASE, env.DATABASE.idFromName(database));
    if (pathname === "/facts") return Response.json(await object.facts());
    if (pathname === "/glance") return Response.json(await object.glance(await request.json()));
    if (pathname === "/dump") return dump(object, await request.json());
    if (pathname === "/destroy") {
      await object.destroy();
      return new Response(null);
    }
    if (pathname.startsWith("/files/")) return file(request, env, pathname.slice(7), object);
    return ctx.exports.D1({ props: { database, script: scriptOf(request) } }).fetch(request);
  },
};

async function dump(object, { no_schema = false, no_data = false, tables = [] }) {
  try {
    const lines = await object.dump(no_schema, no_data, ...tables);
    return new Response(lines.join("\n"), { headers: { "Content-Type": "application/sql" } });
  } catch (error) {
    return Response.json({ error: String(error.message ?? error) }, { status: 400 });
  }
}

// PUT: it waits; POST: it is imported and gone.
async function file(request, env, name, object) {
  if (request.method === "PUT") {
    return filesOf(env).fetch(url(name), { method: "PUT", body: request.body });
  }
  const done = await object.ingest(name);
  await filesOf(env).fetch(url(name), { method: "DELETE" });
  return Response.json(done, { status: done.error ? 400 : 200 });
}

// What JSON cannot hold, or a page has no room for.
function shown(value, characters) {
  if (value instanceof ArrayBuffer) {
    const start = new Uint8Array(value, 0, Math.min(value.byteLength, 16));
    return { bytes: value.byteLength, start: start.toHex() };
  }
  if (typeof value !== "string" || value.length <= characters) return value;
  return { length: value.length, start: value.slice(0, characters) };
}

const url = (name) => `http://blobs/files/${name}`;
