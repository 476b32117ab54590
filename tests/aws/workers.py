"""Small Workers, each for one thing that scripts do, with the requests that show it.

They have to answer the same wherever they run, so nothing in them is random or tells the time.
"""

import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from tests.aws.client import CHECKOUT
from tests.edge.bundles import Bundle, digest_of


@dataclass(frozen=True)
class Ask:
    path: str = "/"
    method: str = "GET"
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sample:
    bundle: Bundle
    asks: tuple[Ask, ...] = (Ask(),)
    seconds: float = 30
    """What the function has for one invocation."""


def answers(body: str, *asks: Ask, before: str = "", **rest: object) -> Sample:
    """A module whose `fetch(request, env, ctx)` has this body."""
    source = f"{before}\nexport default {{ async fetch(request, env, ctx) {{ {body} }} }};"
    return Sample(Bundle(source, **rest), asks or (Ask(),))  # type: ignore[arg-type]


# Adds two numbers: (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add)
WASM = bytes.fromhex(
    "0061736d0100000001070160027f7f017f030201000707010361646400000a09010700200020016a0b"
)
ADD = "new WebAssembly.Instance(module).exports.add(40, 2)"

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
MULTIPART = {"Content-Type": "multipart/form-data; boundary=x"}
PARTS = (
    b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
    b'--x\r\nContent-Disposition: form-data; name="f"; filename="f.txt"\r\nContent-Type: text/plain\r\n\r\nfile\r\n--x--\r\n'
)
POST = Ask(
    method="POST", body=b'{"a": [1, "\xc3\xa4"]}', headers={"Content-Type": "application/json"}
)


@cache
def bundled(source: str) -> str:
    """What esbuild makes of a module that imports packages, as wrangler would."""
    with tempfile.TemporaryDirectory() as folder:
        entry = Path(folder) / "index.js"
        entry.write_text(source)
        done = subprocess.run(
            [
                str(CHECKOUT / "node_modules/.bin/esbuild"),
                str(entry),
                *(
                    "--bundle",
                    "--format=esm",
                    "--target=es2022",
                    "--conditions=workerd,worker,browser",
                ),
            ],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
            env={"NODE_PATH": str(CHECKOUT / "node_modules"), "PATH": "/usr/bin:/bin"},
        )
    return done.stdout


HONO = """
import { Hono } from "hono";
import { getCookie, setCookie } from "hono/cookie";
import { cors } from "hono/cors";
const app = new Hono();
app.use("/api/*", cors());
app.get("/", (c) => c.text(`Hello from ${c.env.NAME}`));
app.get("/users/:id{[0-9]+}", (c) => c.json({ id: c.req.param("id"), q: c.req.query("q") ?? null }));
app.post("/api/echo", async (c) => c.json(await c.req.json(), 201));
app.get("/cookie", (c) => { setCookie(c, "seen", "yes", { path: "/", httpOnly: true }); return c.html(`<p>${getCookie(c, "seen") ?? "new"}</p>`); });
app.get("/boom", () => { throw new Error("boom"); });
app.onError((error, c) => c.text(`caught ${error.message}`, 500));
export default app;
"""
ITTY = """
import { AutoRouter, error } from "itty-router";
const router = AutoRouter();
router.get("/hello/:name", ({ name }) => `Hello, ${name}`).get("/json", () => ({ a: 1 })).get("/no", () => error(403, "No"));
export default { ...router };
"""

SAMPLES: dict[str, Sample] = {
    "text": answers('return new Response("Hello, wörld");'),
    "json": answers('return Response.json({ a: [1, null, "ü"] }, { status: 201 });'),
    "echo": answers(
        "return Response.json({ method: request.method, url: request.url, type: request.headers.get('content-type'), body: await request.text() });",
        Ask("/a%20b/%C3%A4;x=1?q=1&q=2&empty=&flag"),
        POST,
        Ask("/", "PUT", b"put"),
        Ask("/", "PATCH", b"patch"),
        Ask("/", "DELETE"),
        Ask("/", "OPTIONS"),
        Ask("/double//slash/?x=%2F+%20"),
    ),
    "request headers": answers(
        "const h = request.headers; return Response.json(Object.fromEntries(['x-a', 'cookie', 'accept', 'host', 'cf-connecting-ip', 'x-forwarded-proto', 'x-real-ip', 'cf-visitor', 'true-client-ip', 'x-skerry-cf', 'cf-ipcountry'].map((name) => [name, h.get(name)])));",
        Ask(
            headers={
                "X-A": "1, 2",
                "Cookie": "a=1; b=2",
                "Accept": "text/html",
                "CF-Connecting-IP": "6.6.6.6",
                "True-Client-IP": "6.6.6.6",
                "X-Skerry-Cf": "{}",
                "CF-IPCountry": "XX",
            }
        ),
    ),
    "statuses": answers(
        "const status = Number(new URL(request.url).searchParams.get('s')); return new Response([204, 304].includes(status) ? null : String(status), { status });",
        *(
            Ask(f"/?s={status}")
            for status in (200, 201, 204, 304, 400, 404, 410, 418, 451, 500, 503, 599)
        ),
    ),
    "redirects": answers(
        "return request.url.endsWith('/a') ? Response.redirect('https://example.com/b?c=d', 308) : Response.redirect(new URL('/a', request.url));",
        Ask("/"),
        Ask("/a"),
    ),
    "cookies": answers(
        "const headers = new Headers(); for (const c of ['a=1; Path=/', 'b=2; HttpOnly', 'c=3; Expires=Wed, 21 Oct 2026 07:28:00 GMT']) headers.append('Set-Cookie', c); return Response.json(headers.getSetCookie(), { headers });"
    ),
    "response headers": answers(
        "const r = new Response('x', { headers: { 'X-One': '1', 'Cache-Control': 'no-store', Vary: 'Accept' } }); r.headers.append('X-One', '2'); r.headers.append('Link', '<a>; rel=x'); r.headers.append('Link', '<b>; rel=y'); r.headers.delete('content-type'); return r;"
    ),
    "headers by hand": answers(
        "const h = new Headers([['B', '1'], ['a', '2'], ['b', '3'], ['set-cookie', 'x=1'], ['set-cookie', 'y=2']]); return Response.json([[...h], h.get('B'), h.has('A'), h.getAll('Set-Cookie'), h.getSetCookie()]);"
    ),
    "every byte": answers(
        "return new Response(Uint8Array.from({ length: 256 }, (_, i) => i), { headers: { 'content-type': 'application/octet-stream' } });"
    ),
    "bodies of all kinds": answers(
        "const kind = new URL(request.url).pathname; const b = { '/string': 'ä', '/buffer': new TextEncoder().encode('ä').buffer, '/blob': new Blob(['ä'], { type: 'text/x-blob' }), '/params': new URLSearchParams({ a: 'ä b' }), '/null': null }[kind]; return new Response(b);",
        *(Ask(path) for path in ("/string", "/buffer", "/blob", "/params", "/null")),
    ),
    "a megabyte": answers("return new Response('0123456789abcdef'.repeat(65536));"),
    "a megabyte up": answers(
        "const b = await request.arrayBuffer(); const d = await crypto.subtle.digest('SHA-256', b); return Response.json([b.byteLength, [...new Uint8Array(d)]]);",
        Ask("/", "POST", bytes(range(256)) * 4096),
    ),
    "stream": answers(
        "const t = new TextEncoder(); return new Response(new ReadableStream({ async start(c) { for (let i = 0; i < 5; i++) { c.enqueue(t.encode(`piece ${i}\\n`)); await scheduler.wait(2); } c.close(); } }), { headers: { 'content-type': 'text/event-stream' } });"
    ),
    "transform": answers(
        "const up = new TransformStream({ transform(piece, c) { c.enqueue(piece.toUpperCase()); } }); return new Response(request.body.pipeThrough(new TextDecoderStream()).pipeThrough(up).pipeThrough(new TextEncoderStream()));",
        Ask("/", "POST", b"make me loud"),
    ),
    "streams of workerd": answers(
        "const s = request.url.endsWith('/fixed') ? new FixedLengthStream(4) : new IdentityTransformStream(); const w = s.writable.getWriter(); ctx.waitUntil((async () => { await w.write(new TextEncoder().encode('four')); await w.close(); })()); return new Response(s.readable);",
        Ask("/fixed"),
        Ask("/identity"),
    ),
    "tee": answers(
        "const [a, b] = request.body.tee(); return Response.json([await new Response(a).text(), await new Response(b).text()]);",
        Ask("/", "POST", b"twice"),
    ),
    "head": answers(
        "return new Response('not sent', { headers: { 'X-Method': request.method } });",
        Ask("/", "HEAD"),
        Ask("/", "GET"),
    ),
    "throws": answers(
        "throw new Error('on purpose');", Ask(), Ask("/x", "POST", b"y"), Ask("/", "HEAD")
    ),
    "no response": answers("return 'a string';"),
    "nothing": answers("", Ask()),
    "used body": answers("const r = new Response('x'); await r.text(); return r;"),
    "never": Sample(
        Bundle("export default { fetch() { return new Promise(() => {}); } };"), seconds=2
    ),
    "no fetch": Sample(Bundle("export default { scheduled() {} };")),
    "own 500": answers("return new Response('mine', { status: 500 });"),
    "catches": answers(
        "class Mine extends Error { name = 'Mine'; } try { throw new Mine('m', { cause: 1 }); } catch (e) { return Response.json([e.name, e.message, e.cause, e instanceof Mine, String(e)]); }"
    ),
    "json errors": answers(
        "try { await request.json(); return new Response('read'); } catch (e) { return new Response(e.name, { status: 400 }); }",
        Ask("/", "POST", b"{"),
        Ask("/", "POST", b"{}"),
    ),
    "variables and secrets": answers(
        "return Response.json(env);",
        bindings=[
            {"name": "TEXT", "type": "plain_text", "text": "ä"},
            {"name": "SECRET", "type": "secret_text", "text": "s" * 5000},
            {"name": "JSON", "type": "json", "json": {"a": [1, None]}},
            {"name": "with space", "type": "plain_text", "text": ""},
        ],
    ),
    "version metadata": answers(
        "return Response.json(env.VERSION);",
        bindings=[
            {
                "name": "VERSION",
                "type": "version_metadata",
                "id": "i",
                "tag": "t",
                "timestamp": "2026-01-01T00:00:00Z",
            }
        ],
    ),
    "modules": Sample(
        Bundle(
            """
            import text from "./hello.txt"; import data from "./bytes.bin"; import json from "./a.json";
            import { twice } from "./lib/twice.js";
            export default { fetch() { return Response.json([text, data instanceof ArrayBuffer, data.byteLength, json, twice(21)]); } };
            """,
            modules=[
                ("hello.txt", "text", "hällo"),
                ("bytes.bin", "data", b"\x00\xff\x80"),
                ("a.json", "json", '{"a": 1}'),
                (
                    "lib/twice.js",
                    "esm",
                    'import { two } from "../two.js"; export const twice = (n) => n * two;',
                ),
                ("two.js", "esm", "export const two = 2;"),
            ],
        )
    ),
    "wasm module": Sample(
        Bundle(
            f'import module from "./add.wasm"; export default {{ fetch() {{ return Response.json({ADD}); }} }};',
            modules=[("add.wasm", "wasm", WASM)],
        )
    ),
    "commonjs": Sample(
        Bundle(
            'import c from "./c.js"; export default { fetch() { return Response.json([c.a, c.b()]); } };',
            modules=[
                (
                    "c.js",
                    "cjs",
                    "const d = require('./d.js'); module.exports = { a: d.one, b: () => typeof exports };",
                ),
                ("d.js", "cjs", "exports.one = 1;"),
            ],
        )
    ),
    "imports late": Sample(
        Bundle(
            'export default { async fetch() { const late = await import("./late.js"); try { await import("./missing.js"); } catch (e) { return Response.json([late.default, e instanceof Error]); } } };',
            modules=[("late.js", "esm", "export default 'late';")],
        )
    ),
    "service worker": Sample(
        Bundle(
            "addEventListener('fetch', (event) => { event.respondWith(answer(event.request)); }); async function answer(request) { return Response.json([NAME, DATA, request.method, typeof FetchEvent]); }",
            main_module="worker.js",
            syntax="service-worker",
            bindings=[
                {"name": "NAME", "type": "plain_text", "text": "global"},
                {"name": "DATA", "type": "json", "json": [1]},
            ],
        )
    ),
    "service worker with parts": Sample(
        Bundle(
            f"const module = WASM; addEventListener('fetch', (event) => event.respondWith(Response.json([TEXT, DATA.byteLength, {ADD}])));",
            main_module="worker.js",
            syntax="service-worker",
            bindings=[
                {"name": "WASM", "type": "wasm_module", "digest": digest_of(WASM)},
                {"name": "TEXT", "type": "text_blob", "digest": digest_of(b"part")},
                {"name": "DATA", "type": "data_blob", "digest": digest_of(b"\0\1")},
            ],
            extra_files=[WASM, b"part", b"\0\1"],
        )
    ),
    "service worker throws": Sample(
        Bundle(
            "addEventListener('fetch', (event) => { if (event.request.url.endsWith('/sync')) throw new Error('x'); event.respondWith(Promise.reject(new Error('y'))); });",
            main_module="worker.js",
            syntax="service-worker",
        ),
        (Ask("/sync"), Ask("/async")),
    ),
    "forms": answers(
        "const form = await request.formData(); const out = []; for (const [k, v] of form) out.push([k, typeof v === 'string' ? v : [v.name, v.type, await v.text()]]); return Response.json(out);",
        Ask("/", "POST", b"a=1&a=%C3%A4&b=+", FORM),
        Ask("/", "POST", PARTS, MULTIPART),
    ),
    "crypto": answers(
        """
        const hex = (b) => [...new Uint8Array(b)].map((x) => x.toString(16).padStart(2, "0")).join("");
        const data = new TextEncoder().encode("skerry");
        const key = await crypto.subtle.importKey("raw", data, { name: "HMAC", hash: "SHA-256" }, false, ["sign", "verify"]);
        const signature = await crypto.subtle.sign("HMAC", key, data);
        const stream = new crypto.DigestStream("SHA-256");
        const writer = stream.getWriter(); await writer.write(data); await writer.close();
        let refused; try { crypto.subtle.timingSafeEqual(data, data.slice(1)); } catch (e) { refused = e.name; }
        return Response.json([hex(await crypto.subtle.digest("SHA-1", data)), hex(await crypto.subtle.digest("MD5", data)), hex(await crypto.subtle.digest({ name: "SHA-512" }, data)),
          hex(signature), await crypto.subtle.verify("HMAC", key, signature, data), hex(await stream.digest),
          crypto.subtle.timingSafeEqual(data, data.slice()), refused, crypto.randomUUID().length, crypto.getRandomValues(new Uint8Array(4)).length]);
        """
    ),
    "encoded by the platform": answers(
        "return new Response('squeeze '.repeat(100), { headers: { 'content-encoding': 'gzip' } });",
        Ask(headers={"Accept-Encoding": "gzip"}),
    ),
    "encoded by the script": answers(
        "const b = new Response('squeeze '.repeat(100)).body.pipeThrough(new CompressionStream('gzip')); return new Response(b, { encodeBody: 'manual', headers: { 'content-encoding': 'gzip' } });",
        Ask(headers={"Accept-Encoding": "gzip"}),
    ),
    "requests by hand": answers(
        "const r = new Request('https://example.com/x', { method: 'POST', body: 'b', headers: { a: '1' }, cf: { z: 1 } }); const copy = new Request(r.clone(), { headers: { a: '2' } }); const gone = new Request(request); return Response.json([r.method, r.cf, copy.headers.get('a'), copy.method, await copy.text(), gone.url === request.url, gone.redirect, request instanceof Request, r.clone() instanceof Request]);"
    ),
    "cf": answers(
        "const { colo, httpProtocol } = request.cf; return Response.json([typeof colo, httpProtocol, request.clone().cf.colo === colo]);"
    ),
    "after the answer": answers(
        "const seen = count; ctx.waitUntil(scheduler.wait(20).then(() => { count += 1; })); return new Response(String(seen));",
        Ask(),
        before="let count = 0;",
    ),
    "rejected later": answers(
        "ctx.waitUntil(Promise.reject(new Error('later'))); Promise.reject(new Error('nobody')); return new Response('fine');",
        Ask(),
        Ask(),
    ),
    "entrypoint class": Sample(
        Bundle(
            'import { WorkerEntrypoint } from "cloudflare:workers"; export default class extends WorkerEntrypoint { async fetch(request) { this.ctx.waitUntil(Promise.resolve()); return Response.json([this.env.A, request.method]); } }',
            bindings=[{"name": "A", "type": "plain_text", "text": "a"}],
        )
    ),
    "imported env": answers(
        "waitUntil(Promise.resolve()); return Response.json([imported.A, imported.A === env.A]);",
        before='import { env as imported, waitUntil } from "cloudflare:workers";',
        bindings=[{"name": "A", "type": "plain_text", "text": "a"}],
    ),
    "node": answers(
        "return Response.json([Buffer.from('ä').toString('base64'), path.join('a', '..', 'b'), createHash('sha256').update('x').digest('hex'), process.env.A, process.env.VERSION_KEY ?? null, process.env.AWS_SECRET_ACCESS_KEY ?? null, EventEmitter.name]);",
        before='import path from "node:path"; import { createHash } from "node:crypto"; import { Buffer } from "node:buffer"; import EventEmitter from "node:events";',
        bindings=[{"name": "A", "type": "secret_text", "text": "a"}],
        compatibility_flags=["nodejs_compat"],
    ),
    "globals": answers(
        "return Response.json([self === globalThis, navigator.userAgent, typeof caches, typeof scheduler.wait, btoa('x'), atob('eA=='), structuredClone({ a: new Map([[1, 2]]) }).a.get(1), new URL('/b?c', 'https://a.example/d').href, [...new URLSearchParams('a=1&a=2')], typeof addEventListener]);"
    ),
    "a cache without it": answers(
        "return Response.json([(await caches.default.match('https://a.example/never')) === undefined, await caches.default.delete('https://a.example/never')]);"
    ),
    "conditions": answers(
        "return request.headers.get('if-none-match') === '\"v1\"' ? new Response(null, { status: 304, headers: { etag: '\"v1\"' } }) : new Response('v1', { headers: { etag: '\"v1\"', 'cache-control': 'max-age=60' } });",
        Ask(),
        Ask(headers={"If-None-Match": '"v1"'}),
    ),
    "login": answers(
        "return request.headers.get('authorization') === `Basic ${btoa('u:p')}` ? new Response('in') : new Response('out', { status: 401, headers: { 'WWW-Authenticate': 'Basic realm=\"x\"' } });",
        Ask(),
        Ask(headers={"Authorization": "Basic dTpw"}),
    ),
    "hono": Sample(
        Bundle(bundled(HONO), bindings=[{"name": "NAME", "type": "plain_text", "text": "here"}]),
        (
            Ask(),
            Ask("/users/7?q=a"),
            Ask("/users/x"),
            Ask("/api/echo", "POST", POST.body, {**POST.headers, "Origin": "https://a.example"}),
            Ask(
                "/api/echo",
                "OPTIONS",
                headers={"Origin": "https://a.example", "Access-Control-Request-Method": "POST"},
            ),
            Ask("/cookie", headers={"Cookie": "seen=yes"}),
            Ask("/boom"),
        ),
    ),
    "itty": Sample(
        Bundle(bundled(ITTY)), (Ask("/hello/you"), Ask("/json"), Ask("/no"), Ask("/missing"))
    ),
}
