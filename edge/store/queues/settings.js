// How each queue behaves, as the control plane said it last. Kept here, so that queues are consumed while
// the control plane is away.

const SCHEMA = `
CREATE TABLE IF NOT EXISTS queues (name TEXT PRIMARY KEY, settings TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS agent (id TEXT NOT NULL);
`;

// Of a queue that nobody has said anything about yet.
const DEFAULTS = {
  revision: 0,
  paused: false,
  delivery_delay: 0,
  retention: 4 * 24 * 60 * 60,
  consumer: null,
};

export class Settings {
  #sql;
  #known = new Map();

  constructor(sql) {
    this.#sql = sql;
    sql.exec(SCHEMA);
    for (const { name, settings } of sql.exec("SELECT * FROM queues")) {
      this.#known.set(name, JSON.parse(settings));
    }
  }

  of(queue) {
    return this.#known.get(queue) ?? DEFAULTS;
  }

  names() {
    return [...this.#known.keys()];
  }

  // Answers false for what is older than what is known: nudges may overtake each other.
  put(queue, settings) {
    if (settings.revision < this.of(queue).revision) return false;
    const insert = "INSERT OR REPLACE INTO queues (name, settings) VALUES (?, ?)";
    this.#sql.exec(insert, queue, JSON.stringify(settings));
    this.#known.set(queue, { ...DEFAULTS, ...settings });
    return true;
  }

  // Whether another one asked last.
  newAgent(id) {
    const [last] = this.#sql.exec("SELECT id FROM agent").toArray();
    if (last?.id === id) return false;
    this.#sql.exec("DELETE FROM agent");
    this.#sql.exec("INSERT INTO agent (id) VALUES (?)", id);
    return true;
  }

  delete(queue) {
    this.#sql.exec("DELETE FROM queues WHERE name = ?", queue);
    this.#known.delete(queue);
  }
}
