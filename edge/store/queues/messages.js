// The messages of all queues of an account, in one table: so one that is given up moves to its dead
// letter queue in one step, and one index says when the next batch is due.

// `visible_at`: not delivered before; `stored_at`: since when it is kept in this queue; `attempts`: how
// often it was handed out; `failures`: how often that was its consumer's fault; `lease`: with whom it is
// until `leased_until`. Times are milliseconds since 1970.
const SCHEMA = `
CREATE TABLE IF NOT EXISTS messages (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  queue TEXT NOT NULL,
  id TEXT NOT NULL,
  format TEXT NOT NULL,
  body BLOB NOT NULL,
  size INTEGER NOT NULL,
  source TEXT NOT NULL,
  sent_at INTEGER NOT NULL,
  stored_at INTEGER NOT NULL,
  visible_at INTEGER NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  failures INTEGER NOT NULL DEFAULT 0,
  lease TEXT,
  leased_until INTEGER
);
CREATE INDEX IF NOT EXISTS visible ON messages (queue, visible_at, seq) WHERE lease IS NULL;
CREATE INDEX IF NOT EXISTS retried ON messages (queue, visible_at) WHERE lease IS NULL AND attempts > 0;
CREATE INDEX IF NOT EXISTS leased ON messages (lease) WHERE lease IS NOT NULL;
CREATE INDEX IF NOT EXISTS leases ON messages (leased_until) WHERE lease IS NOT NULL;
CREATE INDEX IF NOT EXISTS age ON messages (queue, stored_at);
CREATE INDEX IF NOT EXISTS oldest ON messages (queue, sent_at);
`;

const INSERT =
  "INSERT INTO messages (queue, source, sent_at, stored_at, id, format, body, size, visible_at) VALUES ";
// The runtime binds at most 100 values: three that all share, and four of each message.
const AT_ONCE = 24;
const inserted = (count) =>
  Array.from({ length: count }, (_, row) => {
    const [id, format, body, delay] = [4, 5, 6, 7].map((column) => `?${column + 4 * row}`);
    return `(?1, ?2, ?3, ?3, ${id}, ${format}, ${body}, length(${body}), ?3 + ${delay})`;
  }).join();

export const randomId = () => crypto.randomUUID().replaceAll("-", "");

export class Messages {
  #sql;
  // Count and bytes by queue.
  #backlogs = new Map();

  constructor(sql) {
    this.#sql = sql;
    sql.exec(SCHEMA);
    const sums = sql.exec("SELECT queue, count(*) AS n, sum(size) AS bytes FROM messages GROUP BY queue");
    for (const { queue, n, bytes } of sums) this.#backlogs.set(queue, { count: n, bytes });
  }

  // `messages`: format, body (bytes), delay (seconds) of each.
  insert(queue, source, messages, now) {
    for (let at = 0; at < messages.length; at += AT_ONCE) {
      const some = messages.slice(at, at + AT_ONCE);
      const values = some.flatMap(({ format, body, delay }) => [randomId(), format, body, delay * 1000]);
      this.#sql.exec(INSERT + inserted(some.length), queue, source, now, ...values);
    }
    const bytes = messages.reduce((sum, { body }) => sum + body.byteLength, 0);
    this.#count(queue, messages.length, bytes);
  }

  delete(where, ...args) {
    let deleted = 0;
    const gone = this.#sql.exec(`DELETE FROM messages WHERE ${where} RETURNING queue, size`, ...args);
    for (const { queue, size } of gone) {
      this.#count(queue, -1, -size);
      deleted++;
    }
    return deleted;
  }

  // A batch of one queue that its consumer is done with. Rows are counted by SQLite: as objects of JavaScript
  // they cost more than all the rest.
  deleteBatch(queue, lease) {
    const query = "SELECT count(*) AS count, coalesce(sum(size), 0) AS bytes FROM messages WHERE lease = ?";
    const { count, bytes } = this.#sql.exec(query, lease).one();
    this.#sql.exec("DELETE FROM messages WHERE lease = ?", lease);
    this.#count(queue, -count, -bytes);
  }

  // Up to `limit` messages that are visible, with whoever asks until `until`.
  lease(queue, lease, limit, now, until) {
    const taken = this.#sql.exec(
      "UPDATE messages SET lease = ?, leased_until = ?, attempts = attempts + 1 WHERE seq IN " +
        "(SELECT seq FROM messages WHERE queue = ? AND lease IS NULL AND visible_at <= ? " +
        "ORDER BY visible_at, seq LIMIT ?) RETURNING seq, visible_at, id, sent_at, attempts, format, source, body",
      ...[lease, until, queue, now, limit],
    );
    return taken.toArray().sort((a, b) => a.visible_at - b.visible_at || a.seq - b.seq);
  }

  of(lease) {
    return this.#sql.exec("SELECT seq, id, queue, failures FROM messages WHERE lease = ?", lease).toArray();
  }

  // Back into its queue, visible at `at`.
  release(seq, at, failures) {
    this.#sql.exec(
      "UPDATE messages SET lease = NULL, leased_until = NULL, visible_at = ?, failures = ? WHERE seq = ?",
      ...[at, failures, seq],
    );
  }

  // Into another queue, as it was when it was sent.
  move(seq, queue, at, now) {
    const moved = "SELECT queue, size FROM messages WHERE seq = ?";
    const { queue: from, size } = this.#sql.exec(moved, seq).one();
    this.#sql.exec(
      "UPDATE messages SET queue = ?, lease = NULL, leased_until = NULL, attempts = 0, failures = 0, " +
        "stored_at = ?, visible_at = ? WHERE seq = ?",
      ...[queue, now, at, seq],
    );
    this.#count(from, -1, -size);
    this.#count(queue, 1, size);
  }

  extend(lease, until) {
    this.#sql.exec("UPDATE messages SET leased_until = ? WHERE lease = ?", until, lease);
  }

  // Rows, without their bodies, whose leases are over at `now`.
  overdue(now) {
    const query =
      "SELECT seq, queue, lease, failures FROM messages WHERE lease IS NOT NULL AND leased_until <= ?";
    return this.#sql.exec(query, now).toArray();
  }

  // `[lease, queue, until]` of every lease.
  leases() {
    const query = "SELECT DISTINCT lease, queue, leased_until FROM messages WHERE lease IS NOT NULL";
    return this.#sql.exec(query).raw().toArray();
  }

  // When the message number `number`, from 1, of those that wait becomes visible; Infinity when there are fewer.
  visible(queue, number) {
    const query =
      "SELECT visible_at FROM messages WHERE queue = ? AND lease IS NULL ORDER BY visible_at LIMIT 1 OFFSET ?";
    const [found] = this.#sql.exec(query, queue, number - 1).raw();
    return found?.[0] ?? Infinity;
  }

  // When the first one that was handed out before becomes visible.
  retried(queue) {
    const query =
      "SELECT min(visible_at) AS at FROM messages WHERE queue = ? AND lease IS NULL AND attempts > 0";
    return this.#sql.exec(query, queue).one().at ?? Infinity;
  }

  firstLeaseEnd() {
    const query = "SELECT min(leased_until) AS at FROM messages WHERE lease IS NOT NULL";
    return this.#sql.exec(query).one().at ?? Infinity;
  }

  // The oldest `limit`, whoever has them.
  peek(queue, limit) {
    return this.#sql.exec("SELECT * FROM messages WHERE queue = ? ORDER BY seq LIMIT ?", queue, limit).toArray();
  }

  metrics(queue) {
    const { count, bytes } = this.#backlogs.get(queue) ?? { count: 0, bytes: 0 };
    const query = "SELECT min(sent_at) AS at FROM messages WHERE queue = ?";
    const oldest = count ? (this.#sql.exec(query, queue).one().at ?? 0) : 0;
    return { backlogCount: count, backlogBytes: bytes, oldestMessageTimestamp: oldest };
  }

  #count(queue, count, bytes) {
    const backlog = this.#backlogs.get(queue) ?? { count: 0, bytes: 0 };
    this.#backlogs.set(queue, { count: backlog.count + count, bytes: backlog.bytes + bytes });
  }
}
