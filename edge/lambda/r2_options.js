// What scripts may say of a read or a write of R2, in the words of the protocol.

import { bytesOf, isBytes } from "./remote.js";

const HTTP_HEADERS = {
  contentType: "content-type",
  contentLanguage: "content-language",
  contentDisposition: "content-disposition",
  contentEncoding: "content-encoding",
  cacheControl: "cache-control",
};
const DIGESTS = { md5: ["MD5", 16], sha1: ["SHA-1", 20], sha256: ["SHA-256", 32], sha384: ["SHA-384", 48], sha512: ["SHA-512", 64] };

// `expires` and the header of that name go by `cacheExpiry`, a Date.
export function httpMetadataOf(given) {
  if (given == null) return undefined;
  const found = {};
  if (!(given instanceof Headers)) {
    for (const name of Object.keys(HTTP_HEADERS)) if (given[name] !== undefined) found[name] = String(given[name]);
    if (given.cacheExpiry !== undefined) found.cacheExpiry = new Date(given.cacheExpiry);
    return found;
  }
  for (const [name, header] of Object.entries(HTTP_HEADERS)) if (given.has(header)) found[name] = given.get(header);
  if (given.has("expires")) found.cacheExpiry = new Date(given.get("expires"));
  return found;
}

export function writeHttpMetadata(metadata, headers) {
  for (const [name, header] of Object.entries(HTTP_HEADERS)) {
    if (metadata[name] !== undefined) headers.set(header, metadata[name]);
  }
  if (metadata.cacheExpiry !== undefined) headers.set("expires", metadata.cacheExpiry.toUTCString());
}

export function customFields(metadata) {
  return Object.entries(metadata ?? {}).map(([k, v]) => ({ k, v: String(v) }));
}

// The metadata of a write; `http` as `httpMetadataOf` answers it.
export function fieldsOf(options, http) {
  const fields = {};
  if (options?.customMetadata != null) fields.customFields = customFields(options.customMetadata);
  if (http !== undefined) {
    fields.httpFields = { ...http };
    if (http.cacheExpiry !== undefined) fields.httpFields.cacheExpiry = String(http.cacheExpiry.getTime());
  }
  if (options?.storageClass !== undefined) fields.storageClass = String(options.storageClass);
  return fields;
}

export function digestOf(options) {
  const given = Object.keys(DIGESTS).filter((name) => options[name] != null);
  if (given.length > 1) throw new TypeError("You cannot specify multiple hashing algorithms.");
  return Object.fromEntries(given.map((name) => [name, encoded(name, options[name])]));
}

// The protocol has MD5 in base64 and the others in hex.
function encoded(name, value) {
  const [words, size] = DIGESTS[name];
  const hex = isBytes(value) ? bytesOf(value).toString("hex") : String(value);
  if (isBytes(value) && hex.length !== size * 2) throw new TypeError(`${words} is ${size} bytes, not ${hex.length / 2}`);
  if (hex.length !== size * 2) throw new TypeError(`${words} is ${size * 2} hex characters, not ${hex.length}`);
  if (!/^[0-9a-f]+$/i.test(hex)) throw new TypeError(`Provided ${words} wasn't a valid hex string`);
  return name === "md5" ? Buffer.from(hex, "hex").toString("base64") : hex.toLowerCase();
}

export function rangeOf(range) {
  if (range == null) return {};
  if (range instanceof Headers) return range.has("range") ? { rangeHeader: range.get("range") } : {};
  const { offset, length, suffix } = range;
  if (suffix !== undefined) {
    if (offset !== undefined) throw new TypeError("Suffix is incompatible with offset.");
    if (length !== undefined) throw new TypeError("Suffix is incompatible with length.");
  }
  const asked = {};
  for (const [name, value, words] of [
    ["offset", offset, "range. Starting offset"],
    ["length", length, "range. Length"],
    ["suffix", suffix, "suffix. Suffix"],
  ]) {
    if (value === undefined) continue;
    if (!(value >= 0)) throw new RangeError(`Invalid ${words} (${value}) must be greater than or equal to 0.`);
    if (!Number.isInteger(value)) throw new RangeError(`Invalid ${words} (${value}) must be an integer, not floating point.`);
    asked[name] = String(value);
  }
  return { range: asked };
}

// `{onlyIf}`, from an object or from the headers of RFC 9110.
export function conditionsOf(given) {
  if (given == null) return {};
  const asked = given instanceof Headers ? ofHeaders(given) : ofObject(given);
  return { onlyIf: Object.fromEntries(Object.entries(asked).filter(([, value]) => value !== undefined)) };
}

function ofObject({ etagMatches, etagDoesNotMatch, uploadedBefore, uploadedAfter, secondsGranularity }) {
  return {
    etagMatches: etagMatches === undefined ? undefined : [single(String(etagMatches))],
    etagDoesNotMatch: etagDoesNotMatch === undefined ? undefined : [single(String(etagDoesNotMatch))],
    uploadedBefore: milliseconds(uploadedBefore),
    uploadedAfter: milliseconds(uploadedAfter),
    secondsGranularity: secondsGranularity ? true : undefined,
  };
}

function ofHeaders(headers) {
  const date = (name) => (headers.has(name) ? milliseconds(headers.get(name)) : undefined);
  return {
    etagMatches: etags(headers.get("if-match")),
    etagDoesNotMatch: etags(headers.get("if-none-match")),
    uploadedBefore: date("if-unmodified-since"),
    uploadedAfter: date("if-modified-since"),
    secondsGranularity: true,
  };
}

function milliseconds(date) {
  return date == null ? undefined : String(new Date(date).getTime());
}

function single(etag) {
  if (/^".*"$/.test(etag)) throw new TypeError(`Conditional ETag should not be wrapped in quotes (${etag}).`);
  return etag === "*" ? { type: "wildcard" } : { type: "strong", value: etag };
}

function etags(header) {
  if (header === null) return undefined;
  const found = Array.from(header.matchAll(/\*|(W\/)?"([^"]*)"/g), ([text, weak, value]) =>
    text === "*" ? { type: "wildcard" } : { type: weak ? "weak" : "strong", value },
  );
  const wildcard = found.find(({ type }) => type === "wildcard");
  return wildcard ? [wildcard] : found;
}
