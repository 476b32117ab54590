// Limits of R2, as Cloudflare's documentation gives them.

import { invalidName, metadataTooLarge } from "./errors.js";

const MIB = 1024 * 1024;

export const MOST_KEYS = 1000;
// 5 GiB less 5 MiB in one go, and as much for a part.
export const LARGEST_UPLOAD = 5 * 1024 * MIB - 5 * MIB;
export const SMALLEST_PART = 5 * MIB;
export const MOST_PARTS = 10_000;
// What was begun and not completed is given up after so long.
export const UPLOAD_MILLISECONDS = 7 * 24 * 3600 * 1000;
// Of the metadata in one answer to a list; the runtime refuses four times as much.
export const LIST_BYTES = 256 * 1024;

const LONGEST_KEY = 1024;
const LARGEST_METADATA = 8192;

const encoder = new TextEncoder();

export const bytesOf = (text) => encoder.encode(text).length;

export function checkKey(key) {
  if (typeof key !== "string" || key === "" || bytesOf(key) > LONGEST_KEY) throw invalidName();
}

// `fields` is a list of `{k, v}`.
export function checkMetadata(fields = []) {
  const size = fields.reduce((sum, { k, v }) => sum + stored(k) + stored(v), 0);
  if (size > LARGEST_METADATA) throw metadataTooLarge();
}

// A string with anything outside of Latin-1 is counted in two bytes a character.
function stored(text) {
  return /[^\u0000-\u00ff]/.test(text) ? text.length * 2 : text.length;
}
