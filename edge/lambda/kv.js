// `env.NAMESPACE` of Workers KV, as the runtime offers it.

import { asciiJson, bytesOf, isBytes, Remote, reasonOf, utf8 } from "./remote.js";

const LONGEST_KEY = 512;
const METADATA = "cf-kv-metadata";
const VALUES = "KV put() accepts only strings, ArrayBuffers, ArrayBufferViews, and ReadableStreams as values.";
const READ = {
  text: (answer) => answer.text(),
  json: (answer) => answer.json(),
  arrayBuffer: (answer) => answer.arrayBuffer(),
  stream: (answer) => answer.body,
};

export class KvNamespace {
  #remote;

  constructor(name) {
    this.#remote = new Remote(name);
  }

  async get(name, options) {
    if (Array.isArray(name)) return this.#many(name, options, false);
    return (await this.#one(name, options)).value;
  }

  async getWithMetadata(name, options) {
    if (Array.isArray(name)) return this.#many(name, options, true);
    return this.#one(name, options);
  }

  async put(name, value, options) {
    const path = pathOf("PUT", name);
    const query = new URLSearchParams({ urlencoded: "true" });
    if (options?.expiration != null) query.set("expiration", Math.trunc(options.expiration));
    if (options?.expirationTtl != null) query.set("expiration_ttl", Math.trunc(options.expirationTtl));
    const headers = options?.metadata != null ? { [METADATA]: asciiJson(options.metadata) } : {};
    const body = bodyOf(value);
    const answer = await this.#remote.ask("PUT", `${path}?${query}`, { headers, body, again: true });
    await checked("PUT", answer);
    await answer.body?.cancel();
  }

  async delete(name) {
    const path = pathOf("DELETE", name);
    const answer = await this.#remote.ask("DELETE", `${path}?urlencoded=true`, { again: true });
    await checked("DELETE", answer);
    await answer.body?.cancel();
  }

  async list(options) {
    const query = new URLSearchParams();
    if (options?.limit > 0) query.set("key_count_limit", Math.trunc(options.limit));
    if (options?.prefix != null) query.set("prefix", options.prefix);
    if (options?.cursor != null) query.set("cursor", options.cursor);
    const answer = await this.#remote.ask("GET", `/?${query}`, { again: true });
    await checked("GET", answer);
    const page = await answer.json();
    for (const key of page.keys) if (typeof key.metadata === "string") key.metadata = JSON.parse(key.metadata);
    return { ...page, cacheStatus: answer.headers.get("cf-cache-status") };
  }

  async #one(name, options) {
    const path = pathOf("GET", name);
    const { type = "text", cacheTtl } = optionsOf(options);
    const query = new URLSearchParams({ urlencoded: "true" });
    if (cacheTtl != null) query.set("cache_ttl", cacheTtl);
    const answer = await this.#remote.ask("GET", `${path}?${query}`, { again: true });
    const cacheStatus = answer.headers.get("cf-cache-status");
    if (answer.status === 404 || answer.status === 410) {
      await answer.body?.cancel();
      return { value: null, metadata: null, cacheStatus };
    }
    await checked("GET", answer);
    if (!Object.hasOwn(READ, type)) {
      await answer.body?.cancel();
      throw new TypeError('Unknown response type. Possible types are "text", "arrayBuffer", "json", and "stream".');
    }
    const metadata = answer.headers.get(METADATA);
    const value = await READ[type](answer);
    return { value, metadata: metadata === null ? null : JSON.parse(utf8(metadata)), cacheStatus };
  }

  async #many(names, options, withMetadata) {
    const { type, cacheTtl } = optionsOf(options);
    const asked = { keys: names.map(String), ...(type && { type }), ...(withMetadata && { withMetadata }) };
    if (cacheTtl != null) asked.cacheTtl = String(cacheTtl);
    const headers = { "content-type": "application/json" };
    const body = JSON.stringify(asked);
    const answer = await this.#remote.ask("POST", "/bulk/get", { headers, body, again: true });
    await checked("GET_BULK", answer);
    return new Map(Object.entries(await answer.json()));
  }
}

function optionsOf(options) {
  if (options == null) return {};
  if (typeof options !== "object") return { type: String(options) };
  return { type: options.type, cacheTtl: options.cacheTtl };
}

function pathOf(method, given) {
  const name = String(given);
  if (name === "") throw new TypeError("Key name cannot be empty.");
  if (name === "." || name === "..") throw new TypeError(`"${name}" is not allowed as a key name.`);
  const size = Buffer.byteLength(name);
  if (size > LONGEST_KEY) {
    throw new Error(`KV ${method} failed: 414 UTF-8 encoded length of ${size} exceeds key length limit of ${LONGEST_KEY}.`);
  }
  return `/${encodeURIComponent(name.toWellFormed())}`;
}

function bodyOf(value) {
  if (value instanceof ReadableStream) return value;
  if (isBytes(value)) return bytesOf(value);
  if (value !== null && typeof value === "object") throw new TypeError(VALUES);
  return bytesOf(String(value));
}

async function checked(method, answer) {
  if (answer.ok) return;
  await answer.body?.cancel();
  throw new Error(`KV ${method} failed: ${answer.status} ${reasonOf(answer)}`);
}
