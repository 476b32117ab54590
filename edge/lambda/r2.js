// `env.BUCKET` of R2, as the runtime offers it. The protocol is that of edge/store/r2/protocol.js.

import { asciiJson, bytesOf, isBytes, Remote, utf8 } from "./remote.js";
import { conditionsOf, customFields, digestOf, fieldsOf, httpMetadataOf, rangeOf } from "./r2_options.js";
import { R2Object, R2ObjectBody } from "./r2_objects.js";

const REQUEST = "cf-r2-request";
const SIZE = "cf-r2-metadata-size";
const ERROR = "cf-r2-error";
const VERSION = { version: 1 };
// What a list may tell besides, by its number in the protocol.
const INCLUDED = ["httpMetadata", "customMetadata"];

export class R2Bucket {
  #remote;

  constructor(name) {
    this.#remote = new Remote(name);
  }

  async head(key) {
    const { facts } = await this.#read("head", { object: String(key) });
    return facts && new R2Object(facts);
  }

  async get(key, options = {}) {
    const asked = { object: String(key), ...conditionsOf(options?.onlyIf), ...rangeOf(options?.range) };
    refuseEncryption("get", options);
    const { facts, body, unmet } = await this.#read("get", asked);
    if (!facts) return null;
    return unmet ? new R2Object(facts) : new R2ObjectBody(facts, body);
  }

  async put(key, value, options = {}) {
    refuseEncryption("put", options);
    const http = httpMetadataOf(options?.httpMetadata);
    const asked = {
      object: String(key),
      ...conditionsOf(options?.onlyIf),
      ...fieldsOf(options, http),
      ...digestOf(options ?? {}),
    };
    const { facts, unmet } = await this.#write("put", asked, value);
    if (unmet) return null;
    const custom = customFields(options?.customMetadata);
    return new R2Object({ ...facts, httpFields: undefined, customFields: custom }, http);
  }

  async delete(keys) {
    const asked = Array.isArray(keys) ? { objects: keys.map(String) } : { object: String(keys) };
    await this.#write("delete", asked);
  }

  async list(options = {}) {
    const asked = {};
    for (const name of ["prefix", "cursor", "delimiter", "startAfter"]) {
      if (options?.[name] != null) asked[name] = String(options[name]);
    }
    if (options?.limit !== undefined) asked.limit = Math.trunc(options.limit);
    asked.include = (options?.include ?? []).map((name) => {
      if (INCLUDED.includes(name)) return INCLUDED.indexOf(name);
      throw new RangeError(`Unsupported include value ${name}`);
    });
    const { facts } = await this.#read("list", asked);
    const listed = { objects: facts.objects.map((one) => new R2Object(one, undefined, asked.include)) };
    listed.truncated = facts.truncated;
    if (facts.cursor !== undefined) listed.cursor = facts.cursor;
    return { ...listed, delimitedPrefixes: facts.delimitedPrefixes ?? [] };
  }

  async createMultipartUpload(key, options = {}) {
    refuseEncryption("createMultipartUpload", options);
    const asked = { object: String(key), ...fieldsOf(options, httpMetadataOf(options?.httpMetadata)) };
    const { facts } = await this.#write("createMultipartUpload", asked);
    return this.resumeMultipartUpload(key, facts.uploadId);
  }

  resumeMultipartUpload(key, uploadId) {
    const write = (method, asked, value) => this.#write(method, asked, value);
    return new R2MultipartUpload(String(key), String(uploadId), write);
  }

  async #read(method, asked) {
    const headers = { [REQUEST]: asciiJson({ ...VERSION, method, ...asked }) };
    return taken(method, await this.#remote.ask("GET", "/", { headers, again: true }), true);
  }

  async #write(method, asked, value) {
    const head = Buffer.from(JSON.stringify({ ...VERSION, method, ...asked }));
    const headers = { [SIZE]: String(head.length) };
    return taken(method, await this.#remote.ask("PUT", "/", { headers, body: await behind(head, value) }), false);
  }
}

class R2MultipartUpload {
  #write;

  constructor(key, uploadId, write) {
    this.key = key;
    this.uploadId = uploadId;
    this.#write = write;
  }

  async uploadPart(partNumber, value, options) {
    refuseEncryption("uploadPart", options);
    const { facts } = await this.#write("uploadPart", { ...this.#asked(), partNumber }, value);
    return { partNumber, etag: facts.etag };
  }

  async complete(parts) {
    const named = parts.map(({ partNumber, etag }) => ({ part: partNumber, etag }));
    const { facts } = await this.#write("completeMultipartUpload", { ...this.#asked(), parts: named });
    return new R2Object(facts);
  }

  async abort() {
    await this.#write("abortMultipartUpload", this.#asked());
  }

  #asked() {
    return { object: this.key, uploadId: this.uploadId };
  }
}

// The request's own words with the content behind them.
async function behind(head, value) {
  if (value == null) return head;
  if (value instanceof Blob) value = await value.arrayBuffer();
  if (!(value instanceof ReadableStream)) return Buffer.concat([head, bytesOf(isBytes(value) ? value : String(value))]);
  const reader = value.getReader();
  return new ReadableStream({
    type: "bytes",
    start: (controller) => controller.enqueue(Uint8Array.from(head)),
    async pull(controller) {
      const { done, value: piece } = await reader.read();
      if (!done) return controller.enqueue(Uint8Array.from(bytesOf(piece)));
      controller.close();
      controller.byobRequest?.respond(0);
    },
    cancel: (reason) => reader.cancel(reason),
  });
}

// `{facts, body, unmet}` of an answer; no facts: there is no such object. Raises what the store refused.
async function taken(method, answer, reading) {
  const error = answer.headers.get(ERROR);
  const said = error === null ? null : JSON.parse(utf8(error));
  if (answer.status === 404 && reading && said !== null) return discarded(answer, { facts: null });
  const unmet = answer.status === 412;
  if (!answer.ok && !unmet) {
    await discarded(answer);
    const { message = answer.headers.get("x-skerry-reason") ?? answer.statusText, v4code = 10001 } = said ?? {};
    throw new Error(`${method}: ${message} (${v4code})`);
  }
  const size = Number(answer.headers.get(SIZE) ?? 0);
  if (size === 0) return discarded(answer, { facts: {}, unmet });
  const { text, rest } = await split(answer.body, size);
  return { facts: JSON.parse(text), body: rest, unmet };
}

async function discarded(answer, taken) {
  await answer.body?.cancel();
  return taken;
}

// The first `size` bytes as text, and a stream of the others.
async function split(body, size) {
  const reader = body.getReader();
  let read = Buffer.alloc(0);
  while (read.length < size) {
    const { done, value } = await reader.read();
    if (done) throw new Error("Skerry's answer broke off.");
    read = Buffer.concat([read, value]);
  }
  const first = Uint8Array.from(read.subarray(size));
  const rest = new ReadableStream({
    type: "bytes",
    start: (controller) => void (first.length && controller.enqueue(first)),
    async pull(controller) {
      const { done, value } = await reader.read();
      if (!done) return controller.enqueue(value);
      controller.close();
      controller.byobRequest?.respond(0);
    },
    cancel: (reason) => reader.cancel(reason),
  });
  return { text: read.subarray(0, size).toString(), rest };
}

// In the words of the store.
function refuseEncryption(method, options) {
  if (options?.ssecKey === undefined) return;
  throw new Error(`${method}: Encryption with customer-provided keys (SSE-C) is not available on Skerry. (10029)`);
}
