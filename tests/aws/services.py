"""A Worker that others call, and Workers that call it: `POST /NAME` does what the test of that name does, and
says everything it saw. What they call themselves says the same."""

# Answers as it is asked to by the path; else with all that it was asked.
ANSWERS = """
import { WorkerEntrypoint, RpcTarget } from "cloudflare:workers";
const seen = async (request, ctx) => Response.json({
  method: request.method, url: request.url, redirect: request.redirect, props: ctx.props, body: await request.text(),
  headers: [...request.headers].filter(([name]) => !/^(cf-|x-forwarded|x-real-ip|host$|user-agent|accept|traceparent)/.test(name)),
});
const bytes = (text) => new TextEncoder().encode(text);
async function answer(request, env, ctx) {
  const { pathname, searchParams } = new URL(request.url), status = Number(searchParams.get("s"));
  switch (pathname) {
    case "/status": return new Response([204, 304].includes(status) ? null : "said", { status, statusText: "My Own" });
    case "/cookies": return new Response("", { headers: [["set-cookie", "a=1; Path=/"], ["set-cookie", "b=2"], ["x-a", "1"], ["x-a", "2"], ["x-skerry-own", "x"]] });
    case "/gzip": return new Response("packed".repeat(1000), { headers: { "content-encoding": "gzip" } });
    case "/bytes": return new Response(Uint8Array.from({ length: 256 }, (_, i) => i));
    case "/moved": return new Response("moved", { status, headers: { location: "/seen?from=moved" } });
    case "/round": return Response.redirect("http://other/round");
    case "/throws": throw new RangeError("on purpose");
    case "/large": return new Response("x".repeat(3_000_000));
    case "/back": return new Response(request.body);
    case "/broken": return new Response(new ReadableStream({ async pull(c) { c.enqueue(bytes("begun")); await scheduler.wait(50); c.error(new Error("broken")); } }));
    default: return seen(request, ctx);
  }
}
export class Inner extends WorkerEntrypoint {
  fetch(request) { return seen(request, this.ctx); }
  add(a, b) { return a + b; }
  async echo(...values) { await scheduler.wait(1); return values; }
  nothing() {}
  who() { return this.ctx.props; }
  get version() { return "v1"; }
  fails() { throw new RangeError("on purpose"); }
  failsToo() { throw new (class Mine extends Error {})("my own"); }
  stub() { return new (class extends RpcTarget {})(); }
  back() { return () => 1; }
  own = "not to be seen";
}
"""
CALLEE = ANSWERS + "export default { fetch: answer };"

# `B` leads to the callee, or to this Worker itself; `NAMED` to an entrypoint of it, with props.
CALLER = (
    ANSWERS
    + """
const said = async (work) => { try { return await work(); } catch (error) { return `${error.constructor.name}: ${error.message}`; } };
const each = async (works) => { const told = {}; for (const [name, work] of Object.entries(works)) told[name] = await said(work); return told; };
const shown = async (response) => ({
  status: response.status, words: response.statusText, redirected: response.redirected, url: response.url, cookies: response.headers.getSetCookie(),
  headers: [...response.headers].filter(([name]) => name !== "set-cookie"), none: response.body === null, text: await response.text(),
});
const length = async (stream) => { let n = 0; for await (const piece of stream) n += piece.byteLength; return n; };
const stream = (...pieces) => new ReadableStream({ start(c) { for (const piece of pieces) c.enqueue(bytes(piece)); c.close(); } });

const VALUES = [undefined, null, true, "ä\\u2028", 1.5, -0, NaN, -Infinity, 12345678901234567890n, new Date(5), /a+/gi, [1, [2, undefined]], { a: { b: 1 }, __c: [] },
  new Map([["k", new Set([1])]]), new Uint8Array([0, 255]), new Uint16Array([1, 65535]), new Uint8Array([7, 8]).buffer, new TypeError("given")];
const described = (value) => {
  const kind = Object.prototype.toString.call(value).slice(8, -1);
  if (Array.isArray(value)) return value.map(described);
  if (kind === "Object") return Object.entries(value).map(([key, one]) => [key, described(one)]);
  if (kind === "Map" || kind === "Set") return [kind, ...[...value].map(described)];
  if (kind === "ArrayBuffer" || ArrayBuffer.isView(value)) return [kind, ...new Uint8Array(value.buffer ?? value)];
  return [kind, Object.is(value, -0) ? "-0" : kind === "Date" ? value.toISOString() : String(value)];
};

const TESTS = {
  requests: ({ B, NAMED }) => {
    const ask = (binding, ...rest) => async () => shown(await binding.fetch(...rest));
    return each({
      get: ask(B, "http://other/a%20b/%C3%A4?q=1&q=2#hash"), secure: ask(B, "https://other:8443/x"), url: ask(B, new URL("http://other/url")),
      put: ask(B, "http://other/", { method: "PUT", body: "wörld", headers: { "X-A": "1, 2", cookie: "a=1", authorization: "Bearer mine" } }),
      bytes: ask(B, "http://other/", { method: "PATCH", body: new Uint8Array([65, 66]) }), nothing: ask(B, "http://other/", { method: "POST" }),
      empty: ask(B, "http://other/", { method: "POST", body: "" }), remove: ask(B, "http://other/", { method: "DELETE" }), options: ask(B, "http://other/", { method: "OPTIONS" }),
      stream: ask(B, "http://other/", { method: "POST", body: stream("one", "two") }), form: ask(B, "http://other/", { method: "POST", body: new URLSearchParams({ a: "ä b" }) }),
      request: ask(B, new Request("http://other/r", { method: "POST", body: "of a request", headers: { "x-b": "1" } })),
      both: ask(B, new Request("http://other/r", { headers: { "x-b": "1" } }), { headers: { "x-c": "2" }, method: "POST", body: "new" }),
      named: ask(NAMED, "http://other/n", { method: "POST", body: "b" }), relative: async () => { try { return await B.fetch("/no"); } catch (error) { return error instanceof TypeError; } },
    });
  },
  answers: async ({ B }) => {
    const ask = (path, init) => async () => shown(await B.fetch(`http://other${path}`, init));
    const told = { head: ask("/bytes", { method: "HEAD" }) };
    for (const path of ["/cookies", "/gzip", "/throws", ...[200, 201, 204, 304, 404, 500, 599].map((s) => `/status?s=${s}`)]) told[path] = ask(path);
    told.bytes = async () => [...new Uint8Array(await (await B.fetch("http://other/bytes")).arrayBuffer())].length;
    told.broken = async () => (await B.fetch("http://other/broken")).text().then(() => "read", () => "breaks");
    told.aborted = () => B.fetch("http://other/", { signal: AbortSignal.abort() }).then(() => "answered", (error) => error.name);
    return each(told);
  },
  redirects: async ({ B }) => {
    const told = { round: async () => { try { return await B.fetch("http://other/round"); } catch (error) { return error.constructor.name; } } };
    for (const s of [301, 302, 303, 307, 308]) for (const [name, init] of Object.entries({
      get: {}, manual: { redirect: "manual" }, post: { method: "POST", body: "kept" }, streamed: { method: "POST", body: stream("once") }, put: { method: "PUT", body: "kept" },
    })) told[`${name} ${s}`] = async () => shown(await B.fetch(`http://other/moved?s=${s}`, { ...init, body: name === "streamed" ? stream("once") : init.body }));
    return each(told);
  },
  streams: async ({ B }) => {
    const { readable, writable } = new TransformStream();
    const writer = writable.getWriter(), heard = [];
    const answered = B.fetch("http://other/back", { method: "POST", body: readable });
    let writing = writer.write(bytes("one"));
    const reader = (await answered).body.getReader();
    for (const next of ["two", "three"]) {
      heard.push(new TextDecoder().decode((await reader.read()).value));
      await writing;
      writing = writer.write(bytes(next));
    }
    heard.push(new TextDecoder().decode((await reader.read()).value));
    await Promise.all([writing, writer.close()]);
    heard.push((await reader.read()).done);
    const piece = "y".repeat(64 * 1024), many = Array.from({ length: 64 }, () => piece);
    const back = await B.fetch("http://other/back", { method: "POST", body: stream(...many) });
    return [heard, await length(back.body), await length((await B.fetch("http://other/large")).body)];
  },
  passed: async ({ B }, ctx, request) => shown(await B.fetch(new Request("http://other/p", { method: "POST", body: "again", headers: request.headers }), { headers: { "x-d": request.headers.get("x-skerry-hops") ?? "none" } })),
  methods: ({ B, NAMED }) => each({
    add: () => NAMED.add(1, 2), who: () => NAMED.who(), nothing: async () => (await NAMED.nothing()) === undefined, version: async () => await NAMED.version,
    fails: () => NAMED.fails(), failsToo: () => NAMED.failsToo(), missing: () => NAMED.nope(), own: async () => await NAMED.own,
    echo: async () => (await NAMED.echo(...VALUES)).map(described), name: async () => B.constructor.name, awaited: async () => (await B) === B,
  }),
  unread: async ({ B }) => {
    const much = stream(...Array.from({ length: 32 }, () => "z".repeat(64 * 1024)));
    return (await B.fetch("http://other/status?s=201", { method: "POST", body: much })).text();
  },
  refusals: ({ NAMED }) => each({ events: () => NAMED.scheduled({}), stub: () => NAMED.stub(), back: () => NAMED.back(), given: () => NAMED.echo(() => 1), response: () => NAMED.echo(new Response("x")), stream: () => NAMED.echo(stream("x")) }),
};
export default {
  async fetch(request, env, ctx) {
    const { pathname, host } = new URL(request.url), name = pathname.slice(1);
    if (host.startsWith("other")) return answer(request, env, ctx);
    if (name === "loop") return passedOn(await env.SELF.fetch(request));
    return Response.json(await TESTS[name](env, ctx, request));
  },
};
const passedOn = async (answer) => answer.headers.get("content-type") === "text/plain" ? Response.json([answer.status, await answer.text()]) : answer;
"""
)
