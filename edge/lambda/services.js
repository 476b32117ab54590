// `env.OTHER` of a service binding: another script of the account, which runs on a node, or this one.
// What is sent and answered is a head, JSON behind its length, and then the body, both ways at the same
// time; for a method without a head, and with its name, parameters and result as cloning.js has them. Who
// calls the script there is edge/agent/remote_calls.py.

import { STATUS_CODES } from "node:http";
import { Duplex } from "node:stream";
import { createBrotliDecompress, createGunzip } from "node:zlib";

import { decoded, encoded, encodedError } from "./cloning.js";
import { Remote } from "./remote.js";
import { answered, asked, incoming, isWhole } from "./requests.js";
import { nested, within } from "./workers.js";

// How often a request was passed on, as a cell counts it (edge/cell/platform.js). No visitor can set it.
const HOPS = "x-skerry-hops";
const MOST_HOPS = 16;
// On every answer that came out of the script; one for what it threw lacks it.
const MARKER = "x-skerry";
const MOST_REDIRECTS = 20;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);
const WITHOUT_BODY = new Set([204, 205, 304]);
const BODILESS = new Set(["GET", "HEAD"]);
const LENGTH_BYTES = 4;
// What a cell's own call throws when there is no answer, or no end of it.
const LOST = "Network connection lost.";
const DECODERS = { gzip: createGunzip, br: createBrotliDecompress };
// What engines look for in any object.
const NO_METHODS = new Set(["then", "toJSON"]);

let own;

// Called as soon as the script is there.
export function serveOwn(script, env) {
  own = { script, env };
}

// `itself`: the entrypoint and props of a binding to the script itself.
export function serviceOf(name, itself) {
  const callee = itself ? toItself(itself) : away(name);
  return new Proxy(new Fetcher(callee), {
    get(target, key) {
      if (key === "fetch") return (input, init) => target.fetch(input, init);
      if (typeof key === "symbol" || NO_METHODS.has(key) || key in target) return Reflect.get(target, key);
      return member(callee, key);
    },
  });
}

// What is called is a method; what is awaited without a call is a property.
function member(callee, key) {
  const call = async (...parameters) => callee.method(key, parameters);
  call.then = (...then) => callee.method(key, null).then(...then);
  return call;
}

class Fetcher {
  #callee;

  constructor(callee) {
    this.#callee = callee;
  }

  async fetch(input, init) {
    const request = asked(input, init);
    if (request.headers.has("upgrade")) throw new Error("WebSockets cannot be opened on AWS Lambda.");
    const { method, url, cf, signal } = request;
    signal.throwIfAborted();
    const headers = new Headers(request.headers);
    const hops = (Number(headers.get(HOPS)) || 0) + 1;
    if (hops > MOST_HOPS) return answered("error code: 1019", { status: 500, headers: { "content-type": "text/plain" } });
    headers.set(HOPS, String(hops));
    const body = isWhole(request) ? Buffer.from(await request.arrayBuffer()) : request.body;
    const call = { method, url: withoutHash(url), headers, body, cf, signal };
    for (let left = MOST_REDIRECTS; ; left--) {
      const response = await this.#callee.fetch(call);
      const location = request.redirect === "follow" && REDIRECTS.has(response.status) ? response.headers.get("location") : null;
      if (location === null) return from(response, call.url, left < MOST_REDIRECTS);
      await response.body?.cancel();
      if (left === 0) throw new TypeError("Too many redirects.");
      turn(call, response.status, location);
    }
  }
}

// The response with what only the one knows who asked.
function from(response, url, redirected) {
  const known = { url, redirected, statusText: response.statusText || (STATUS_CODES[response.status] ?? "") };
  return Object.defineProperties(response, Object.fromEntries(Object.entries(known).map(([name, value]) => [name, { value }])));
}

// The headers by which a callee knows that there is a body, and how long it is.
function sized(headers, body) {
  const sized = new Headers(headers);
  sized.delete("content-length");
  if (body instanceof Buffer) sized.set("content-length", String(body.length));
  if (body instanceof ReadableStream) sized.set("transfer-encoding", "chunked");
  return sized;
}

function withoutHash(url) {
  return url.split("#", 1)[0];
}

// Makes of a call the one to which its answer leads.
function turn(call, status, location) {
  call.url = withoutHash(new URL(location, call.url).href);
  if (status !== 303 && call.body instanceof ReadableStream) {
    throw new TypeError(
      "A request with a one-time-use body (it was initialized from a stream, not a buffer) encountered a redirect requiring the body to be retransmitted. " +
        "To avoid this error in the future, construct this request from a buffer-like body initializer.",
    );
  }
  const posted = call.method === "POST" && (status === 301 || status === 302);
  if (posted || (status === 303 && !BODILESS.has(call.method))) Object.assign(call, { method: "GET", body: null });
}

// Within the function, as a cell keeps it within its process.
function toItself({ entrypoint, props }) {
  return {
    async fetch({ method, url, headers, body, cf }) {
      const context = nested(props ?? {});
      const request = incoming(url, { method, headers: sized(headers, body), body }, cf);
      const response = await within(context, () => own.script.enter(entrypoint)(request, own.env, context));
      if (!(response instanceof Response)) throw new TypeError("The fetch handler did not return a Response.");
      if (method !== "HEAD") return response;
      await response.body?.cancel();
      return answered(null, response);
    },
    async method(key, parameters) {
      const context = nested(props ?? {});
      const copies = parameters && decoded(encoded(parameters));
      try {
        const value = own.script.member(entrypoint, key, context, own.env);
        return decoded(encoded(await within(context, () => (copies ? value(...copies) : value))));
      } catch (error) {
        throw decoded(encodedError(error)).error;
      }
    },
  };
}

function away(name) {
  const remote = new Remote(name);
  const call = async (sent, options) => {
    const answer = await remote.ask("POST", "/call", { body: sent, ...options });
    if (answer.status !== 200) throw new Error(`Skerry answered ${answer.status} instead of the Worker that was called.`);
    return new Answer(answer);
  };
  return {
    async fetch({ method, url, headers, body, signal }) {
      const { host, pathname, search } = new URL(url);
      const told = sized(headers, body ?? (BODILESS.has(method) ? null : Buffer.alloc(0)));
      const head = framed({ method, host, target: pathname + search, headers: [...told], body: body !== null });
      const sent = body instanceof ReadableStream ? ReadableStream.from(joined(head, body)) : Buffer.concat([head, body ?? Buffer.alloc(0)]);
      return responseOf(await call(sent, { signal, again: BODILESS.has(method) }), method);
    },
    async method(key, parameters) {
      const answer = await call(Buffer.concat([framed({}), Buffer.from(encoded([key, parameters]))]));
      const { status } = await answer.head();
      if (status !== 200) throw new Error(LOST);
      const told = decoded(await answered(answer.rest()).text());
      if ("error" in told) throw told.error;
      return told.value;
    },
  };
}

function framed(head) {
  const text = Buffer.from(JSON.stringify(head));
  const length = Buffer.alloc(LENGTH_BYTES);
  length.writeUInt32BE(text.length);
  return Buffer.concat([length, text]);
}

async function* joined(head, body) {
  yield head;
  yield* body;
}

// What was answered: a head, and the rest of it as a stream.
class Answer {
  #reader;
  #bytes = Buffer.alloc(0);

  constructor(answer) {
    this.#reader = answer.body.getReader();
  }

  async head() {
    const size = (await this.#exactly(LENGTH_BYTES)).readUInt32BE();
    return JSON.parse(await this.#exactly(size));
  }

  rest() {
    const first = this.#bytes;
    return new ReadableStream({
      type: "bytes",
      start(controller) {
        // A copy: what is handed over is detached.
        if (first.length) controller.enqueue(Uint8Array.from(first));
      },
      pull: async (controller) => {
        const { done, value } = await this.#read();
        if (!done) return controller.enqueue(value);
        controller.close();
        controller.byobRequest?.respond(0);
      },
      cancel: (reason) => this.cancel(reason),
    });
  }

  cancel(reason) {
    return this.#reader.cancel(reason);
  }

  async #exactly(count) {
    while (this.#bytes.length < count) {
      const { done, value } = await this.#read();
      if (done) throw new Error(LOST);
      this.#bytes = Buffer.concat([this.#bytes, value]);
    }
    const taken = this.#bytes.subarray(0, count);
    this.#bytes = this.#bytes.subarray(count);
    return taken;
  }

  async #read() {
    try {
      return await this.#reader.read();
    } catch (error) {
      throw error.name === "AbortError" ? error : new Error(LOST, { cause: error });
    }
  }
}

async function responseOf(answer, method) {
  const { status, reason, headers: pairs } = await answer.head();
  const headers = new Headers(pairs);
  const empty = method === "HEAD" || WITHOUT_BODY.has(status);
  if (empty || !headers.has(MARKER)) await answer.cancel();
  if (!headers.has(MARKER)) throw new Error("The Worker that was called threw an exception.");
  headers.delete(MARKER);
  const body = empty ? null : unpacked(answer.rest(), headers.get("content-encoding"));
  return answered(body, { status, statusText: reason, headers });
}

// A script reads what was meant; the header stays, so that it is encoded again when it is passed on.
function unpacked(body, encoding) {
  const decoder = DECODERS[encoding];
  return decoder ? body.pipeThrough(Duplex.toWeb(decoder())) : body;
}
