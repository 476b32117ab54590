// All cached answers of an account: small bodies in the row, others as files.
//
// The runtime's protocol (workerd's cache.c++): GET with `Cache-Control: only-if-cached`, a hit or a
// miss by `CF-Cache-Status`; PUT with an answer as HTTP/1.1 writes it; PURGE. `CF-Cache-Namespace`
// names a cache other than the default one. The caller's ticket names the script.

import { DurableObject } from "cloudflare:workers";
import { opened } from "../door.js";
import { Blobs } from "../r2/blobs.js";
import { cut } from "../r2/ranges.js";
import { rangeOf, unchanged } from "./conditions.js";
import { Index } from "./index.js";
import { lifetime } from "./lifetime.js";
import { beginning, message, Rest, TooLarge } from "./message.js";

// Whose requests are the agent's.
const AGENT = "agent";
const PROTO = "x-skerry-proto";
// What is smaller is in the row.
const SMALL = 64 * 1024;
// Cloudflare's.
const LARGEST = 512 * 1024 * 1024;
const UNCOUNTED = { write: async () => {} };

export class Cache extends DurableObject {
  constructor(ctx, env) {
    super(ctx, env);
    this.blobs = new Blobs(env.BLOBS, ctx, "all");
    this.blobs.open();
    this.index = new Index(ctx, this.blobs, Number(env.LIMIT));
  }

  async fetch(request) {
    const name = await opened(request, this.env);
    if (name === null) return new Response(null, { status: 403, statusText: "Forbidden" });
    if (name === AGENT) return this.#limit(await request.text());
    const key = keyOf(name, request);
    switch (request.method) {
      case "GET":
        return this.#match(key, request.headers);
      case "PUT":
        return this.#put(key, request);
      case "PURGE":
        return new Response(null, { status: this.index.remove(key) ? 200 : 404 });
      default:
        return new Response(null, { status: 405 });
    }
  }

  #limit(bytes) {
    this.index.limit(Number(bytes));
    return new Response(null, { status: 204 });
  }

  #match(key, asked) {
    const row = this.index.get(key);
    if (row === null) return new Response(null, { status: 504, headers: { "CF-Cache-Status": "MISS" } });
    const headers = new Headers(JSON.parse(row.headers));
    headers.set("CF-Cache-Status", "HIT");
    headers.set("Age", `${Math.floor(row.age + (Date.now() - row.stored) / 1000)}`);
    if (unchanged(asked, headers)) return new Response(null, { status: 304, headers });
    const range = rangeOf(asked.get("Range"), row.size);
    if (range === null) {
      const unsatisfied = { "Content-Range": `bytes */${row.size}`, "CF-Cache-Status": "HIT" };
      return new Response(null, { status: 416, headers: unsatisfied });
    }
    headers.set("Content-Length", `${range.length}`);
    if (!range.whole) headers.set("Content-Range", `bytes ${range.offset}-${range.offset + range.length - 1}/${row.size}`);
    const status = range.whole ? row.status : 206;
    const bodiless = status === 204 || status === 205 || status === 304;
    return new Response(bodiless ? null : this.#body(row, range), { status, headers });
  }

  #body(row, range) {
    if (row.blob === "") return new Uint8Array(row.body, range.offset, range.length);
    const { readable, writable } = new FixedLengthStream(range.length);
    this.ctx.waitUntil(this.blobs.pour(cut([[row.blob, row.size]], range), writable));
    return readable;
  }

  async #put(key, request) {
    const stream = request.body.getReader({ mode: "byob" });
    const { status, headers, rest, size } = await message(stream, request.headers.get("Content-Length"));
    const kept = lifetime(request.headers, status, headers);
    const largest = Math.min(LARGEST, this.index.largest());
    if (kept === null || size > largest) {
      await rest.drain();
      return new Response(null, { status: 413 });
    }
    if (kept.expires <= Date.now()) {
      await rest.drain();
      this.index.remove(key);
      return new Response(null, { status: 204 });
    }
    const row = { key, status, headers: JSON.stringify(kept.headers), age: kept.age, expires: kept.expires };
    const first = await beginning(rest, SMALL + 1);
    if (first.byteLength <= SMALL) {
      this.index.put({ ...row, size: first.byteLength, body: first.buffer, blob: "" });
      return new Response(null, { status: 204 });
    }
    return this.#putLarge(row, new Rest(first, stream, largest), size);
  }

  async #putLarge(row, rest, size) {
    const blob = this.blobs.take();
    try {
      const written = await this.blobs.write(blob, rest, size, UNCOUNTED);
      this.index.put({ ...row, size: written, body: null, blob });
      return new Response(null, { status: 204 });
    } catch (problem) {
      this.blobs.discard([blob]);
      if (!(problem instanceof TooLarge)) throw problem;
      await rest.drain();
      return new Response(null, { status: 413 });
    }
  }
}

// The scheme is in a header that the runtime of the caller adds; a cache's name may be anything.
function keyOf(script, request) {
  const named = request.headers.get("CF-Cache-Namespace");
  const scheme = request.headers.get(PROTO) ?? "http";
  const url = `${scheme}${request.url.slice(request.url.indexOf(":"))}`;
  return JSON.stringify([script, named, url]);
}
