// Uploads in parts. An upload that ended stays known for a while: giving it up once more is no error.

import { Digests, etagOfParts } from "./digests.js";
import {
  badUpload,
  entityTooSmall,
  internalError,
  invalidArgument,
  invalidPart,
  noSuchUpload,
} from "./errors.js";
import { MOST_PARTS, SMALLEST_PART, UPLOAD_MILLISECONDS } from "./limits.js";
import { newRow } from "./objects.js";

const RUNNING = 0;
const COMPLETED = 1;
const ABORTED = 2;

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS uploads (
    id TEXT PRIMARY KEY,
    key TEXT NOT NULL,
    class TEXT NOT NULL,
    http TEXT NOT NULL,
    custom TEXT NOT NULL,
    state INTEGER NOT NULL DEFAULT ${RUNNING},
    began INTEGER NOT NULL
  ) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS parts (
    upload TEXT NOT NULL,
    number INTEGER NOT NULL,
    blob TEXT NOT NULL,
    size INTEGER NOT NULL,
    etag TEXT NOT NULL,
    uploaded INTEGER NOT NULL,
    PRIMARY KEY (upload, number)
  ) WITHOUT ROWID;
`;

export class Uploads {
  constructor(ctx, blobs, objects) {
    this.storage = ctx.storage;
    this.sql = ctx.storage.sql;
    this.blobs = blobs;
    this.objects = objects;
  }

  open() {
    this.sql.exec(SCHEMA);
  }

  create(key, fields) {
    this.#forgetOld();
    const id = crypto.getRandomValues(new Uint8Array(48)).toBase64({ alphabet: "base64url" });
    this.sql.exec(
      "INSERT INTO uploads (id, key, class, http, custom, began) VALUES (?, ?, ?, ?, ?, ?)",
      id,
      key,
      fields.class,
      fields.http,
      fields.custom,
      Date.now(),
    );
    return { uploadId: id };
  }

  // `size` is what the body is expected to have. Raises noSuchUpload.
  async uploadPart({ object, uploadId, partNumber, md5 }, body, size) {
    if (!(partNumber >= 1 && partNumber <= MOST_PARTS)) {
      throw invalidArgument(`Part number must be between 1 and ${MOST_PARTS}, inclusive.`);
    }
    this.#running(object, uploadId);
    const blob = this.blobs.take();
    try {
      const digests = new Digests({ md5 });
      const written = await this.blobs.write(blob, body, size, digests);
      const { etag } = await digests.end();
      this.#keepPart(object, uploadId, [partNumber, blob, written, etag, Date.now()]);
      return { etag };
    } catch (problem) {
      this.blobs.discard([blob]);
      throw problem;
    }
  }

  // `parts` is `[{part, etag}]`. Raises noSuchUpload, invalidPart, entityTooSmall, badUpload.
  async complete(key, id, parts) {
    this.#ended(key, id);
    const chosen = this.#chosen(id, parts);
    const etag = await etagOfParts(chosen.map((part) => part.etag));
    const size = chosen.reduce((sum, part) => sum + part.size, 0);
    // Another request may have ended it while the etag was made.
    const upload = this.#ended(key, id);
    const pieces = chosen.map((part) => [part.blob, part.size]);
    const row = newRow(key, size, etag, {}, upload);
    return this.objects.put(row, pieces, undefined, () => this.#end(id, COMPLETED, pieces));
  }

  // Ending one that has ended changes nothing.
  abort(key, id) {
    const upload = this.#find(key, id);
    if (upload === undefined) throw internalError();
    if (upload.state === RUNNING) this.#giveUp([id]);
  }

  // What is under way: `[{key, uploadId, began, class}]`.
  list(prefix) {
    const query = "SELECT key, id AS uploadId, began, class FROM uploads WHERE state = ? ORDER BY key, began";
    return this.sql
      .exec(query, RUNNING)
      .toArray()
      .filter(({ key }) => key.startsWith(prefix));
  }

  // `[{part, size, etag, uploaded}]`. Raises noSuchUpload.
  parts(key, id) {
    this.#running(key, id);
    const query = "SELECT number AS part, size, etag, uploaded FROM parts WHERE upload = ? ORDER BY number";
    return this.sql.exec(query, id).toArray();
  }

  abortAll() {
    const all = this.sql.exec("SELECT id FROM uploads WHERE state = ?", RUNNING).toArray();
    this.#giveUp(all.map(({ id }) => id));
  }

  #find(key, id) {
    const [upload] = this.sql.exec("SELECT * FROM uploads WHERE id = ? AND key = ?", id, key);
    return upload;
  }

  #running(key, id) {
    const upload = this.#find(key, id);
    if (upload?.state !== RUNNING) throw noSuchUpload();
    return upload;
  }

  // As R2 does, an upload that never was is an internal error to whoever completes it.
  #ended(key, id) {
    const upload = this.#find(key, id);
    if (upload === undefined) throw internalError();
    if (upload.state !== RUNNING) throw noSuchUpload();
    return upload;
  }

  #keepPart(key, id, [number, blob, size, etag, uploaded]) {
    const unused = this.storage.transactionSync(() => {
      this.#running(key, id);
      const before = this.sql
        .exec("SELECT blob FROM parts WHERE upload = ? AND number = ?", id, number)
        .toArray()
        .map((part) => part.blob);
      this.blobs.keep(blob);
      this.sql.exec(
        "INSERT OR REPLACE INTO parts VALUES (?, ?, ?, ?, ?, ?)",
        id,
        number,
        blob,
        size,
        etag,
        uploaded,
      );
      this.blobs.loosen(before);
      return before;
    });
    this.blobs.discard(unused);
  }

  // The chosen parts in order, all of one size and none too small but the last one.
  #chosen(id, parts) {
    if (new Set(parts.map(({ part }) => part)).size < parts.length) throw internalError();
    const rows = this.sql.exec("SELECT * FROM parts WHERE upload = ?", id).toArray();
    const uploaded = new Map(rows.map((row) => [row.number, row]));
    const chosen = parts.map(({ part, etag }) => {
      const found = uploaded.get(part);
      if (found === undefined || found.etag !== etag) throw invalidPart();
      return found;
    });
    if (chosen.slice(0, -1).some(({ size }) => size < SMALLEST_PART)) throw entityTooSmall();
    chosen.sort((one, other) => one.number - other.number);
    const first = chosen[0]?.size ?? 0;
    const even = chosen.slice(0, -1).every(({ size }) => size === first && size >= SMALLEST_PART);
    if (!even || (chosen.at(-1)?.size ?? 0) > first) throw badUpload();
    return chosen;
  }

  // In a transaction: forget the parts. Returns the blobs that nobody needs now.
  #end(id, state, pieces = []) {
    const needed = new Set(pieces.map(([blob]) => blob));
    const parts = this.sql.exec("DELETE FROM parts WHERE upload = ? RETURNING blob", id).toArray();
    this.sql.exec("UPDATE uploads SET state = ? WHERE id = ?", state, id);
    return parts.map(({ blob }) => blob).filter((blob) => !needed.has(blob));
  }

  #giveUp(ids) {
    const unused = this.storage.transactionSync(() => {
      const blobs = ids.flatMap((id) => this.#end(id, ABORTED));
      this.blobs.loosen(blobs);
      return blobs;
    });
    this.blobs.discard(unused);
  }

  #forgetOld() {
    const before = Date.now() - UPLOAD_MILLISECONDS;
    const old = this.sql.exec("SELECT id, state FROM uploads WHERE began < ?", before).toArray();
    this.#giveUp(old.filter(({ state }) => state === RUNNING).map(({ id }) => id));
    this.sql.exec("DELETE FROM uploads WHERE began < ?", before);
  }
}
