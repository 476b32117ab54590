// Lists of objects, in the order of their keys' bytes.

import { invalidArgument, invalidLimit } from "./errors.js";
import { LIST_BYTES, MOST_KEYS, bytesOf } from "./limits.js";
import { FACTS } from "./objects.js";
import { answerOf } from "./protocol.js";

const BATCH = 200;

// `include` names what metadata is wanted: 0 HTTP's, 1 the customer's.
export function list(sql, request) {
  const limit = request.limit === undefined ? MOST_KEYS : Number(request.limit);
  if (!(limit >= 1 && limit <= MOST_KEYS)) throw invalidLimit();
  const prefix = request.prefix ?? "";
  const page = new Page(request, limit, prefix);
  let from = start(prefix, request);
  while (from !== null) from = fill(page, sql, from, prefix);
  return page.answer();
}

// Takes a batch of rows. Returns from where to go on, null when the page or the list is at its end.
function fill(page, sql, from, prefix) {
  const sign = from.inclusive ? ">=" : ">";
  const query = `SELECT ${FACTS} FROM objects WHERE key ${sign} ? ORDER BY key LIMIT ${BATCH}`;
  let count = 0;
  let last = "";
  for (const row of sql.exec(query, from.key)) {
    if (!row.key.startsWith(prefix)) return null;
    count += 1;
    last = row.key;
    const folder = page.folderOf(row.key);
    if (!(folder === null ? page.add(row) : page.addFolder(folder))) return null;
    if (folder !== null) return behind(folder);
  }
  return count < BATCH ? null : { key: last, inclusive: false };
}

class Page {
  #objects = [];
  #folders = [];
  #bytes = 0;
  #cursor = null;
  #last = null;

  constructor({ delimiter, include }, limit, prefix) {
    this.delimiter = delimiter === "" ? undefined : delimiter;
    this.include = (include ?? []).map(Number);
    this.limit = limit;
    this.prefix = prefix;
  }

  folderOf(key) {
    if (this.delimiter === undefined) return null;
    const at = key.indexOf(this.delimiter, this.prefix.length);
    return at < 0 ? null : key.slice(0, at + this.delimiter.length);
  }

  // False when there is no room, which ends the page.
  add(row) {
    const object = answerOf(row);
    if (!this.include.includes(0)) delete object.httpFields;
    if (!this.include.includes(1)) delete object.customFields;
    return this.#room(bytesOf(JSON.stringify(object)), this.#objects, object, `k${row.key}`);
  }

  addFolder(folder) {
    return this.#room(bytesOf(folder), this.#folders, folder, `p${folder}`);
  }

  #room(bytes, entries, entry, place) {
    const count = this.#objects.length + this.#folders.length;
    const full = count >= this.limit || (count > 0 && this.#bytes + bytes > LIST_BYTES);
    if (full) {
      this.#cursor = new TextEncoder().encode(this.#last).toBase64({ alphabet: "base64url" });
      return false;
    }
    entries.push(entry);
    this.#bytes += bytes;
    this.#last = place;
    return true;
  }

  answer() {
    const truncated = this.#cursor !== null;
    const answer = { objects: this.#objects, truncated, delimitedPrefixes: this.#folders };
    return truncated ? { ...answer, cursor: this.#cursor } : answer;
  }
}

// Where a list begins: at its prefix, after `startAfter`, or where the page before ended.
function start(prefix, { cursor, startAfter }) {
  const places = [{ key: prefix, inclusive: true }];
  if (startAfter !== undefined) places.push({ key: startAfter, inclusive: false });
  if (cursor !== undefined) places.push(resumed(cursor));
  return places.reduce((late, one) => (one === null || later(one, late) ? one : late));
}

function resumed(cursor) {
  let text = "";
  try {
    const bytes = Uint8Array.fromBase64(cursor, { alphabet: "base64url" });
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw invalidArgument("The cursor is not one that a list answered.");
  }
  if (text[0] === "k") return { key: text.slice(1), inclusive: false };
  if (text[0] === "p") return behind(text.slice(1));
  throw invalidArgument("The cursor is not one that a list answered.");
}

function later(one, other) {
  if (other === null) return false;
  const order = compare(one.key, other.key);
  return order > 0 || (order === 0 && !one.inclusive);
}

// By code points, which is the order of UTF-8's bytes and of SQLite; JavaScript's own is another one.
function compare(one, other) {
  const left = Array.from(one, (char) => char.codePointAt(0));
  const right = Array.from(other, (char) => char.codePointAt(0));
  const at = left.findIndex((point, index) => point !== right[index]);
  if (at < 0) return left.length - right.length;
  return at >= right.length ? 1 : left[at] - right[at];
}

// The first place behind all keys that begin so; null when there is none.
function behind(prefix) {
  const points = Array.from(prefix, (char) => char.codePointAt(0));
  while (points.length > 0 && points.at(-1) === 0x10ffff) points.pop();
  if (points.length === 0) return null;
  const next = points.pop() + 1;
  // The code points between are halves of pairs, which no text of UTF-8 has.
  points.push(next === 0xd800 ? 0xe000 : next);
  return { key: String.fromCodePoint(...points), inclusive: true };
}
