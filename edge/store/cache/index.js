// What is cached, who was asked for when, and how much room it takes.

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS entries (
    key TEXT PRIMARY KEY,
    status INTEGER NOT NULL,
    headers TEXT NOT NULL,
    size INTEGER NOT NULL,
    room INTEGER NOT NULL,
    body BLOB,
    blob TEXT NOT NULL,
    age INTEGER NOT NULL,
    stored INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    used INTEGER NOT NULL
  );
  CREATE INDEX IF NOT EXISTS by_use ON entries (used);
  CREATE INDEX IF NOT EXISTS by_end ON entries (expires);
`;
// Of a row beside its key, headers and body, with its places in three indexes.
const OVERHEAD = 512;
// To the millisecond would be a write for every read.
const USE_MS = 60_000;
const AT_ONCE = 32;

export class Index {
  #limit;
  #room;

  constructor(ctx, blobs, limit) {
    this.storage = ctx.storage;
    this.sql = ctx.storage.sql;
    this.blobs = blobs;
    this.#limit = limit;
    this.sql.exec(SCHEMA);
    this.#room = this.sql.exec("SELECT coalesce(sum(room), 0) AS room FROM entries").one().room;
    this.#shrink();
  }

  // The most bytes that all of it may take.
  limit(bytes) {
    this.#limit = bytes;
    this.#shrink();
  }

  // Of one entry: one that pushes all others out helps nobody.
  largest() {
    return Math.floor(this.#limit / 2);
  }

  // Null when it is not there, or not fresh any more.
  get(key) {
    const [row] = this.sql.exec("SELECT * FROM entries WHERE key = ?", key);
    if (row === undefined) return null;
    const now = Date.now();
    if (now >= row.expires) {
      this.remove(key);
      return null;
    }
    if (now - row.used > USE_MS) this.sql.exec("UPDATE entries SET used = ? WHERE key = ?", now, key);
    return row;
  }

  put({ key, status, headers, size, body, blob, age, expires }) {
    const now = Date.now();
    const room = size + headers.length + key.length + OVERHEAD;
    const freed = this.storage.transactionSync(() => {
      const old = this.#take("key = ?", key);
      if (blob !== "") this.blobs.keep(blob);
      this.sql.exec(
        "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        ...[key, status, headers, size, room, body, blob, age, now, expires, now],
      );
      return old;
    });
    this.#room += room;
    this.blobs.discard(freed);
    this.#shrink();
  }

  // Whether it was there.
  remove(key) {
    const before = this.#room;
    this.blobs.discard(this.storage.transactionSync(() => this.#take("key = ?", key)));
    return this.#room < before;
  }

  // First what is over, then what nobody has asked for longest.
  #shrink() {
    const now = Date.now();
    const over = "key IN (SELECT key FROM entries WHERE expires <= ? ORDER BY expires LIMIT ?)";
    const unused = "key IN (SELECT key FROM entries ORDER BY used LIMIT ?)";
    while (this.#room > this.#limit) {
      const before = this.#room;
      const freed = this.storage.transactionSync(() => {
        const ended = this.#take(over, now, AT_ONCE);
        return this.#room < before ? ended : this.#take(unused, AT_ONCE);
      });
      this.blobs.discard(freed);
      if (this.#room === before) break;
    }
  }

  // Delete rows; gives the files that they had. Within a transaction.
  #take(where, ...values) {
    const rows = this.sql.exec(`DELETE FROM entries WHERE ${where} RETURNING room, blob`, ...values).toArray();
    for (const { room } of rows) this.#room -= room;
    const blobs = rows.map(({ blob }) => blob).filter((blob) => blob !== "");
    this.blobs.loosen(blobs);
    return blobs;
  }
}
