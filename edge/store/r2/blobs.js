// The bytes of objects: files under random names that are written once and never changed.
//
// A name is in the table `loose` before its file exists and until the index refers to it, and again
// in the very transaction in which the index stops to refer to it. So whatever is in that table when
// a bucket wakes up is left over from a process that died, and its files are deleted: also those that
// the disk service was still writing, `.<name>.<more>.tmp`.

import { internalError } from "./errors.js";

const RESERVED = 16;
const CHUNK = 256 * 1024;

const randomHex = (length) => crypto.getRandomValues(new Uint8Array(length)).toHex();

export class Blobs {
  #free = [];
  #readers = new Map();
  #unwanted = new Set();

  // `service` is a writable `disk`, `folder` this bucket's folder on it.
  constructor(service, ctx, folder) {
    this.service = service;
    this.ctx = ctx;
    this.sql = ctx.storage.sql;
    this.folder = folder;
  }

  open() {
    this.sql.exec("CREATE TABLE IF NOT EXISTS loose (blob TEXT PRIMARY KEY) WITHOUT ROWID");
    const left = this.sql.exec("SELECT blob FROM loose").toArray();
    this.ctx.waitUntil(this.#sweep(left.map(({ blob }) => blob)));
  }

  // A name for a new blob. Names are reserved in stock, all in one folder: one transaction for many
  // writes, and one folder to look through after a crash.
  take() {
    if (this.#free.length === 0) {
      const folder = randomHex(1);
      for (let count = 0; count < RESERVED; count++) {
        this.#free.push(`${folder}/${randomHex(16)}`);
        this.sql.exec("INSERT INTO loose VALUES (?)", this.#free[count]);
      }
    }
    return this.#free.pop();
  }

  // The index refers to it from now on; called in the index's transaction.
  keep(blob) {
    this.sql.exec("DELETE FROM loose WHERE blob = ?", blob);
  }

  // The index does not refer to them any more; called in the index's transaction.
  loosen(blobs) {
    for (const blob of blobs) this.sql.exec("INSERT OR IGNORE INTO loose VALUES (?)", blob);
  }

  // Delete what is loose, as soon as nobody reads it any more.
  discard(blobs) {
    const idle = blobs.filter((blob) => !this.#readers.has(blob));
    for (const blob of blobs) if (this.#readers.has(blob)) this.#unwanted.add(blob);
    if (idle.length > 0) this.ctx.waitUntil(this.#erase(idle));
  }

  // Write what `reader` (of bytes) still has, telling `digests` of it. Returns the size. `size` is
  // what is expected, null where nobody knows. Nothing stays behind when it fails.
  async write(blob, reader, size, digests) {
    const pipe = size === null ? new IdentityTransformStream() : new FixedLengthStream(size);
    const stored = this.#put(blob, pipe.readable);
    // Whoever waits for it hears of it below; without this a failure would end the whole request.
    stored.catch(() => {});
    const writer = pipe.writable.getWriter();
    let written = 0;
    try {
      let buffer = new ArrayBuffer(CHUNK);
      for (;;) {
        const { value, done } = await reader.readAtLeast(CHUNK, new Uint8Array(buffer, 0, CHUNK));
        if (value !== undefined && value.byteLength > 0) {
          await Promise.all([writer.write(value), digests.write(value)]);
          written += value.byteLength;
        }
        if (done || value === undefined || value.byteLength === 0) break;
        buffer = value.buffer;
      }
      await writer.close();
      await stored;
    } catch (problem) {
      await writer.abort(problem).catch(() => {});
      throw problem;
    }
    return written;
  }

  async #put(blob, body) {
    const answer = await this.service.fetch(this.#url(blob), { method: "PUT", body });
    if (!answer.ok) throw internalError();
  }

  // Pour parts of blobs (as `cut` gives them) into a stream that has begun, and close it. Blobs that
  // are deleted meanwhile are there until the last reader is through.
  async pour(parts, writable) {
    for (const { blob } of parts) this.#readers.set(blob, (this.#readers.get(blob) ?? 0) + 1);
    let done = 0;
    try {
      for (; done < parts.length; done++) {
        const body = await this.#read(parts[done]);
        await body.pipeTo(writable, { preventClose: true });
        this.#release(parts[done].blob);
      }
      await writable.close();
    } catch (problem) {
      await writable.abort(problem).catch(() => {});
    } finally {
      for (const { blob } of parts.slice(done)) this.#release(blob);
    }
  }

  async #read({ blob, offset, length, whole }) {
    const headers = whole ? {} : { Range: `bytes=${offset}-${offset + length - 1}` };
    const answer = await this.service.fetch(this.#url(blob), { headers });
    if (!answer.ok) throw internalError();
    return answer.body;
  }

  #release(blob) {
    const left = this.#readers.get(blob) - 1;
    if (left > 0) {
      this.#readers.set(blob, left);
      return;
    }
    this.#readers.delete(blob);
    if (this.#unwanted.delete(blob)) this.ctx.waitUntil(this.#erase([blob]));
  }

  async #sweep(blobs) {
    const names = new Set(blobs.map((blob) => blob.split("/")[1]));
    for (const folder of new Set(blobs.map((blob) => blob.split("/")[0]))) {
      const listed = await this.service.fetch(this.#url(folder));
      for (const { name } of listed.ok ? await listed.json() : []) {
        const half = name.startsWith(".") && names.has(name.split(".")[1]);
        if (half) await this.service.fetch(this.#url(`${folder}/${name}`), { method: "DELETE" });
      }
    }
    await this.#erase(blobs);
  }

  async #erase(blobs) {
    for (const blob of blobs) {
      const answer = await this.service.fetch(this.#url(blob), { method: "DELETE" });
      // What cannot be deleted now is tried again when the bucket wakes up the next time.
      if (answer.ok || answer.status === 404) this.keep(blob);
    }
  }

  #url(blob) {
    return `http://blobs/${this.folder}/${blob}`;
  }
}
