// The protocol of the runtime's `r2_bucket` binding (workerd's r2-rpc.c++ and r2-api.capnp).
//
// Reading: `GET /` with the request as JSON in `CF-R2-Request`. Writing: `PUT /` whose body is the
// request as JSON, of `CF-R2-Metadata-Size` bytes, and then the content. An answer's body is such a
// JSON, too, with the content behind it. Failures say what they are in `CF-R2-Error`.
// Integers of 64 bits come as strings and may be answered as numbers.

import { invalidArgument, R2Error, internalError } from "./errors.js";

const REQUEST = "CF-R2-Request";
const METADATA_SIZE = "CF-R2-Metadata-Size";
const ERROR = "CF-R2-Error";
const LARGEST_REQUEST = 4 * 1024 * 1024;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export function readingRequest(request) {
  return parsed(request.headers.get(REQUEST) ?? "");
}

// `{asked, reader, size}`: `reader` is at the content, whose size is null where nobody said it.
export async function writingRequest(request) {
  const length = Number(request.headers.get(METADATA_SIZE) ?? NaN);
  if (!(length > 0 && length <= LARGEST_REQUEST) || request.body === null) throw unreadable();
  const total = request.headers.get("Content-Length");
  const reader = request.body.getReader({ mode: "byob" });
  const { value } = await reader.readAtLeast(length, new Uint8Array(length));
  if (value?.byteLength !== length) throw unreadable();
  const size = total === null ? null : Number(total) - length;
  return { asked: parsed(decoder.decode(value)), reader, size };
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    throw unreadable();
  }
}

const unreadable = () => invalidArgument("Metadata missing or invalid");

// A request's metadata as it is stored.
export function stored({ httpFields, customFields, storageClass }) {
  return {
    http: JSON.stringify(httpFields ?? {}),
    custom: JSON.stringify(customFields ?? []),
    class: storageClass || "Standard",
  };
}

// An object as the runtime reads it; `range` is what of it comes along.
export function answerOf(row, range = undefined) {
  const checksums = JSON.parse(row.checksums);
  // The etag of what came in one go is its MD5.
  if (!row.etag.includes("-")) checksums[0] = row.etag;
  const answer = {
    name: row.key,
    version: row.version,
    size: row.size,
    etag: row.etag,
    uploaded: row.uploaded,
    storageClass: row.class,
    httpFields: JSON.parse(row.http),
    customFields: JSON.parse(row.custom),
    checksums,
  };
  return range === undefined ? answer : { ...answer, range };
}

export function answered(result, init = {}) {
  const body = encoder.encode(JSON.stringify(result));
  const headers = { ...init.headers, [METADATA_SIZE]: `${body.length}` };
  return new Response(body, { ...init, headers });
}

// The answer to a read: the facts, and a stream into which `pour` puts `size` bytes of content.
export function streamed(result, size, pour) {
  const facts = encoder.encode(JSON.stringify(result));
  const { readable, writable } = new FixedLengthStream(facts.length + size);
  const poured = begin(facts, writable, pour);
  const headers = { [METADATA_SIZE]: `${facts.length}` };
  return { response: new Response(readable, { headers }), poured };
}

async function begin(facts, writable, pour) {
  const writer = writable.getWriter();
  const written = writer.write(facts);
  writer.releaseLock();
  const poured = pour(writable);
  await written.catch(() => {});
  await poured;
}

export function refused(problem) {
  if (!(problem instanceof R2Error)) console.error(problem);
  const { status, code, message, object } = problem instanceof R2Error ? problem : internalError();
  const headers = { [ERROR]: JSON.stringify({ version: 1, v4code: code, message }) };
  if (object !== null) return answered(object, { status, headers });
  return new Response(null, { status, headers });
}
