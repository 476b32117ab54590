// KV of one account: workerd's own server, whose namespace is the one that the binding opens. On top
// of the runtime's protocol: many keys written or deleted in one request, and the end of a namespace,
// which only the agent asks for.

import server, { KVNamespace as Namespace } from "bundled-kv.js";
import { count, scriptOf } from "counting.js";
import { opened } from "door.js";
import { awake, filesOf } from "shared.js";

// What the runtime's server takes for a folder of files.
const withFiles = (env) => ({ ...env, BLOBS: filesOf(env) });

export class KVNamespace extends Namespace {
  constructor(ctx, env) {
    super(ctx, withFiles(env));
  }

  ping() {}

  // Answers the files that it had.
  async destroy() {
    const { sql } = this.ctx.storage;
    const files = sql.exec("SELECT blob FROM entries WHERE blob IS NOT NULL UNION SELECT blob FROM garbage");
    const names = files.toArray().map(({ blob }) => blob);
    await this.ctx.storage.deleteAlarm();
    await this.ctx.storage.deleteAll();
    return names;
  }
}

export default {
  async fetch(request, plain, ctx) {
    const env = withFiles(plain);
    const namespace = await opened(request, env);
    if (namespace === null) return new Response(null, { status: 403, statusText: "Forbidden" });
    const script = scriptOf(request);
    if (script) ctx.waitUntil(counted(script, request, ctx));
    await awake(env, env.SHARD, env.SHARD.idFromName(namespace));
    // All that the server takes from the context of a request.
    const context = { props: { namespace } };
    if (request.method === "POST") {
      const { pathname } = new URL(request.url);
      if (pathname === "/bulk/put") return putAll(request, env, context);
      if (pathname === "/bulk/delete") return deleteAll(request, env, context);
      if (pathname === "/destroy") return destroy(env, namespace);
    }
    return server.fetch(request, env, context);
  },
};

// Each key that is read is a read, and so is a list; what writes or deletes one is a write.
async function counted(script, request, ctx) {
  const writes = request.method === "PUT" || request.method === "DELETE";
  const several = request.method === "POST" ? request.clone() : null;
  const reads = several ? ((await several.json().catch(() => ({}))).keys?.length ?? 1) : 1;
  count(script, ctx, writes ? 0 : reads, writes ? 1 : 0);
}

// One object holds a namespace, and writes what comes at the same time in one go.
async function putAll(request, env, context) {
  const pairs = await request.json();
  return answered(pairs, (pair) => {
    const query = new URLSearchParams();
    for (const name of ["expiration", "expiration_ttl"]) {
      if (pair[name] !== undefined) query.set(name, pair[name]);
    }
    const headers = {};
    if (pair.metadata !== undefined) headers["CF-KV-Metadata"] = JSON.stringify(pair.metadata);
    const body = pair.base64 ? Uint8Array.fromBase64(pair.value) : pair.value;
    const url = `http://kv/${encodeURIComponent(pair.key)}?${query}`;
    return server.fetch(new Request(url, { method: "PUT", headers, body }), env, context);
  });
}

async function deleteAll(request, env, context) {
  const keys = await request.json();
  return answered(
    keys.map((key) => ({ key })),
    ({ key }) => {
      const url = `http://kv/${encodeURIComponent(key)}`;
      return server.fetch(new Request(url, { method: "DELETE" }), env, context);
    },
  );
}

// One after the other by key, so that the last of two entries of one key counts.
async function answered(entries, send) {
  const byKey = Map.groupBy(entries, ({ key }) => key);
  const failed = [];
  await Promise.all(
    [...byKey].map(async ([key, same]) => {
      for (const entry of same) {
        const answer = await send(entry);
        if (!answer.ok) failed.push({ key, status: answer.status, reason: answer.statusText });
      }
    }),
  );
  return Response.json({ failed });
}

async function destroy(env, namespace) {
  const id = env.SHARD.idFromName(namespace);
  const files = await env.SHARD.get(id).destroy();
  if (env.SHARED) {
    // A bucket has no folders.
    for (const file of files) await env.BLOBS.fetch(`http://blobs/${file}`, { method: "DELETE" });
    return new Response(null);
  }
  const blobs = await env.BLOBS.fetch(`http://blobs/${id}`, { method: "DELETE" });
  const gone = blobs.ok || blobs.status === 404;
  return new Response(null, { status: gone ? 200 : 500 });
}
