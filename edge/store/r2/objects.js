// The index of a bucket: what is known of each object, and which blobs hold it.

import { hold } from "./conditions.js";
import { noSuchKey, preconditionFailed } from "./errors.js";

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS objects (
    key TEXT PRIMARY KEY,
    version TEXT NOT NULL,
    size INTEGER NOT NULL,
    etag TEXT NOT NULL,
    uploaded INTEGER NOT NULL,
    class TEXT NOT NULL,
    checksums TEXT NOT NULL,
    http TEXT NOT NULL,
    custom TEXT NOT NULL,
    pieces TEXT NOT NULL
  );
  CREATE TABLE IF NOT EXISTS totals (objects INTEGER NOT NULL, bytes INTEGER NOT NULL);
  INSERT INTO totals SELECT 0, 0 WHERE NOT EXISTS (SELECT 1 FROM totals);
`;

// All but the pieces, of which an object of many parts has many.
export const FACTS = "key, version, size, etag, uploaded, class, checksums, http, custom";

export class Objects {
  constructor(ctx, blobs) {
    this.storage = ctx.storage;
    this.sql = ctx.storage.sql;
    this.blobs = blobs;
  }

  open() {
    this.sql.exec(SCHEMA);
  }

  // Raises noSuchKey.
  facts(key) {
    const [row] = this.sql.exec(`SELECT ${FACTS} FROM objects WHERE key = ?`, key);
    if (row === undefined) throw noSuchKey();
    return row;
  }

  // Facts and pieces, `[[blob, size]]`. Raises noSuchKey.
  whole(key) {
    const [row] = this.sql.exec("SELECT * FROM objects WHERE key = ?", key);
    if (row === undefined) throw noSuchKey();
    return { ...row, pieces: JSON.parse(row.pieces) };
  }

  // Make `row` the object of its key where the conditions hold for the one before it. `also` is done
  // in the same transaction. Returns the facts as they are stored now.
  put(row, pieces, conditions, also = () => []) {
    const unused = this.storage.transactionSync(() => {
      const [old] = this.sql.exec(
        "SELECT etag, uploaded, size, pieces FROM objects WHERE key = ?",
        row.key,
      );
      if (!hold(conditions, old)) throw preconditionFailed();
      for (const [blob] of pieces) this.blobs.keep(blob);
      const freed = [...this.#freed(old), ...also()];
      this.#write(row, pieces);
      this.#count(old === undefined ? 1 : 0, row.size - (old?.size ?? 0));
      this.blobs.loosen(freed);
      return freed;
    });
    this.blobs.discard(unused);
    return row;
  }

  delete(keys) {
    const unused = this.storage.transactionSync(() => keys.flatMap((key) => this.#remove(key)));
    this.blobs.discard(unused);
  }

  totals() {
    return this.sql.exec("SELECT objects, bytes FROM totals").one();
  }

  #remove(key) {
    const [old] = this.sql.exec("DELETE FROM objects WHERE key = ? RETURNING size, pieces", key);
    if (old === undefined) return [];
    const freed = this.#freed(old);
    this.blobs.loosen(freed);
    this.#count(-1, -old.size);
    return freed;
  }

  #freed(old) {
    return old === undefined ? [] : JSON.parse(old.pieces).map(([blob]) => blob);
  }

  #write(row, pieces) {
    this.sql.exec(
      `INSERT OR REPLACE INTO objects (${FACTS}, pieces) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      row.key,
      row.version,
      row.size,
      row.etag,
      row.uploaded,
      row.class,
      row.checksums,
      row.http,
      row.custom,
      JSON.stringify(pieces),
    );
  }

  #count(objects, bytes) {
    this.sql.exec("UPDATE totals SET objects = objects + ?, bytes = bytes + ?", objects, bytes);
  }
}

// A row of an object that is being written, from the fields of the request that began it.
export function newRow(key, size, etag, checksums, fields) {
  return {
    key,
    version: crypto.getRandomValues(new Uint8Array(16)).toHex(),
    size,
    etag,
    uploaded: Date.now(),
    class: fields.class,
    checksums: JSON.stringify(checksums),
    http: fields.http,
    custom: fields.custom,
  };
}
