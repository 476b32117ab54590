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

  // `message`: format, body (bytes), delay (seconds), source.
  insert(queue, message, now) {
    this.#sql.exec(
      "INSERT INTO messages (queue, id, format, body, size, source, sent_at, stored_at, visible_at) " +
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
      ...[queue, randomId(), message.format, message.body, message.body.byteLength, message.source],
      ...[now, now, now + message.delay * 1000],
    );
    this.#count(queue, 1, message.body.byteLength);
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

  // Up to `limit` messages that are visible, with whoever asks until `until`.
  lease(queue, lease, limit, now, until) {
    const taken = this.#sql.exec(
      "UPDATE messages SET lease = ?, leased_until = ?, attempts = attempts + 1 WHERE seq IN " +
        "(SELECT seq FROM messages WHERE queue = ? AND lease IS NULL AND visible_at <= ? " +
        "ORDER BY visible_at, seq LIMIT ?) RETURNING *",
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

  // When the first `limit` messages become visible, in order.
  visible(queue, limit) {
    const query =
      "SELECT visible_at FROM messages WHERE queue = ? AND lease IS NULL ORDER BY visible_at LIMIT ?";
    return [...this.#sql.exec(query, queue, limit).raw()].map(([at]) => at);
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
