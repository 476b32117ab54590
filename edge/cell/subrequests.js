// What invocations of the script ask of others: fetches, and what its bindings do. The runtime streams them
// as spans while an invocation runs, and tells the invocation itself when it has ended (platform.js), which
// takes along what was collected here. No query, header, key, statement or body is kept.

// Of one invocation; the rest is counted.
const LISTED = 50;
const LETTERS = 300;
// At one time. Of older ones that still run nothing will be known.
const INVOCATIONS = 500;
// The stream ends a moment before or after the invocation is told.
const TURNS = 20;
const TURN_MS = 10;

// Of the runtime's names. What is below one of them is the same subrequest; of a method's call it has the name.
const OTHERS = /^(fetch|(kv|d1|r2|queue|cache)_.+|durable_object_subrequest|jsRpcSession)$/;
const RPC = /^jsRpc/;
// Of a call of another Worker's object, before the binding and the method (objects.js).
export const CALL = "skerry-object ";
const URLS = ["url.full", "cache.request.url"];
const METHODS = ["http.request.method", "cache.request.method", "jsrpc.method"];
const STATUSES = ["http.response.status_code", "cache.response.status_code"];

const watched = new Map();

// Handles the first event of an invocation: answers who hears of the others.
export function watch({ timestamp, event }) {
  const { info = {} } = event;
  const ray = info.headers?.find(({ name }) => name === "cf-ray")?.value;
  const key = keyOf(timestamp, event.entrypoint, ray ?? info.cron ?? info.queueName);
  const invocation = new Invocation(Number(timestamp));
  watched.set(key, [...(watched.get(key) ?? []), invocation]);
  if (watched.size > INVOCATIONS) watched.delete(watched.keys().next().value);
  return invocation;
}

// What an invocation asked of others that has ended now; undefined when that is not known.
export async function collected({ eventTimestamp, entrypoint, event }) {
  const what = event?.request?.headers["cf-ray"] ?? event?.cron ?? event?.queue;
  const key = keyOf(eventTimestamp, entrypoint, what);
  for (let turn = 0; turn < TURNS && watched.get(key)?.every(({ ended }) => !ended); turn++) {
    await scheduler.wait(TURN_MS);
  }
  const found = watched.get(key) ?? [];
  const ended = found.filter((invocation) => invocation.ended);
  const others = found.filter((invocation) => !invocation.ended);
  if (others.length > 0) watched.set(key, others);
  else watched.delete(key);
  // Several that began alike and ended at the same time cannot be told apart.
  return ended.length === 1 ? ended[0].told() : undefined;
}

function keyOf(at, entrypoint, what) {
  return [Math.floor(Number(at)), entrypoint ?? "", what ?? ""].join(" ");
}

class Invocation {
  ended = false;
  #began;
  #count = 0;
  #listed = [];
  // Subrequests under way by span, and what the runtime does for them: null, and for what is only counted.
  #open = new Map();

  constructor(began) {
    this.#began = began;
  }

  spanOpen({ timestamp, spanContext, event: { spanId, name } }) {
    const above = this.#open.get(spanContext.spanId);
    if (above !== undefined) this.#open.set(spanId, RPC.test(name) ? above : null);
    if (above !== undefined || !OTHERS.test(name)) return;
    const one = { kind: name, target: "", method: "", status: null, offset_ms: timestamp - this.#began };
    this.#open.set(spanId, this.#count < LISTED ? one : null);
    if (this.#count++ < LISTED) this.#listed.push(one);
  }

  attributes({ spanContext, event: { info } }) {
    const one = this.#open.get(spanContext.spanId);
    if (!one) return;
    const said = new Map(info.map(({ name, value }) => [name, value]));
    one.target = targetOf(said) || one.target;
    const method = String(first(said, METHODS) ?? "");
    // What is called of what a method returned belongs to that call.
    one.method ||= text(method);
    one.status = Number(first(said, STATUSES)) || one.status;
    if (method.startsWith(CALL)) Object.assign(one, called(method));
  }

  spanClose({ timestamp, spanContext }) {
    const one = this.#open.get(spanContext.spanId);
    if (one) one.duration_ms ??= timestamp - this.#began - one.offset_ms;
    this.#open.delete(spanContext.spanId);
  }

  outcome({ timestamp }) {
    for (const one of this.#listed) one.duration_ms ??= timestamp - this.#began - one.offset_ms;
    this.#open.clear();
    this.ended = true;
  }

  told() {
    return { count: this.#count, listed: this.#listed };
  }
}

function called(method) {
  try {
    const [binding, path] = JSON.parse(method.slice(CALL.length));
    return { kind: "durable_object_subrequest", target: text(binding), method: text(path) };
  } catch {
    return {};
  }
}

function targetOf(said) {
  const url = URL.parse(String(first(said, URLS)));
  return text(url ? url.host + url.pathname : said.get("cloudflare.binding.name"));
}

function first(said, names) {
  return said.get(names.find((name) => said.has(name)));
}

function text(value) {
  return String(value ?? "").slice(0, LETTERS);
}
