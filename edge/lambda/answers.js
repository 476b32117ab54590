// The Response of a script in the form that the caller takes: a stream behind a prelude for a
// function URL, one JSON object for all others.

import { Readable } from "node:stream";
import { constants, createBrotliCompress, createGzip } from "node:zlib";
import { STATUS_CODES } from "node:http";

import { encodesItself } from "./requests.js";
import { content } from "./version.js";

// What belongs to one connection, and what the body decides.
const DROPPED = new Set(["connection", "keep-alive", "transfer-encoding", "upgrade", "content-length"]);
const TEXT = /^(text\/|application\/(json|javascript|xml|x-www-form-urlencoded|[\w.-]+\+(json|xml))|image\/svg\+xml)/i;
const ENCODERS = {
  gzip: () => createGzip({ flush: constants.Z_SYNC_FLUSH }),
  br: () => createBrotliCompress({ flush: constants.BROTLI_OPERATION_FLUSH }),
};

export async function writeHttp(stream, response, { request, ray, streams, form }) {
  const head = headOf(response, ray);
  const body = request.method === "HEAD" ? await without(response) : encoded(response);
  if (!streams) return writeAnswer(stream, await whole(head, body, form));
  const prelude = { statusCode: head.status, headers: joined(head.headers), cookies: head.cookies };
  const sink = globalThis.awslambda.HttpResponseStream.from(stream, prelude);
  sink.write(""); // the prelude, also when nothing follows
  if (body) await pour(body, sink);
  await new Promise((resolve) => sink.end(resolve));
}

export function writeAnswer(stream, answer) {
  stream.setContentType("application/json");
  stream.end(JSON.stringify(answer ?? null));
}

// The page that the front of a node shows.
export function exceptionPage(ray) {
  const page = content("1101.html").toString().replaceAll("%[var(txn.ray)]", ray.split("-")[0]);
  const headers = { "content-type": "text/html; charset=utf-8", "cache-control": "no-store" };
  return new Response(page, { status: 500, headers });
}

function headOf(response, ray) {
  const headers = [...response.headers].filter(([name]) => name !== "set-cookie" && !DROPPED.has(name));
  headers.push(["cf-ray", ray]);
  return { status: response.status, headers, cookies: response.headers.getSetCookie() };
}

function joined(headers) {
  return Object.fromEntries(headers);
}

async function without(response) {
  await response.body?.cancel();
  return null;
}

// A body with a `content-encoding` is encoded on its way, unless the script has done it itself.
function encoded(response) {
  if (response.body === null) return null;
  const body = Readable.fromWeb(response.body);
  const encoder = encodesItself(response) ? null : ENCODERS[response.headers.get("content-encoding")]?.();
  if (!encoder) return body;
  body.on("error", (error) => encoder.destroy(error));
  return body.pipe(encoder);
}

async function pour(body, sink) {
  for await (const piece of body) {
    if (!sink.write(piece)) await new Promise((resolve) => sink.once("drain", resolve));
  }
}

async function whole({ status, headers, cookies }, body, form) {
  const pieces = [];
  if (body) for await (const piece of body) pieces.push(piece);
  const bytes = Buffer.concat(pieces);
  const isBase64Encoded = !isText(headers, bytes);
  const answer = { statusCode: status, isBase64Encoded, body: bytes.toString(isBase64Encoded ? "base64" : "utf8") };
  if (form === "second") return { ...answer, headers: joined(headers), cookies };
  if (form !== "first") answer.statusDescription = `${status} ${STATUS_CODES[status] ?? ""}`.trim();
  if (form === "balanced") return { ...answer, headers: { ...joined(headers), ...casedCookies(cookies) } };
  const multiValueHeaders = Object.fromEntries(headers.map(([name, value]) => [name, [value]]));
  if (cookies.length) multiValueHeaders["set-cookie"] = cookies;
  return { ...answer, multiValueHeaders };
}

// A load balancer without multi-value headers takes one value for each name; the case of a name
// means nothing (RFC 9110), so each cookie gets a spelling of its own.
function casedCookies(cookies) {
  return Object.fromEntries(cookies.map((cookie, index) => [spelled("setcookie", index), cookie]));
}

function spelled(letters, number) {
  const cased = [...letters].map((letter, bit) => ((number >> bit) & 1 ? letter.toUpperCase() : letter));
  return [...cased.slice(0, 3), "-", ...cased.slice(3)].join("");
}

function isText(headers, bytes) {
  const { "content-type": type = "", "content-encoding": encoding } = Object.fromEntries(headers);
  return !encoding && TEXT.test(type) && Buffer.from(bytes.toString()).equals(bytes);
}
