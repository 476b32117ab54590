// `env.DATABASE` of D1, as the runtime offers it. The statements of one call are one transaction.

import { isBytes, Remote } from "./remote.js";

const BOOKMARK = "x-cf-d1-session-commit-token";
const PRIMARY = "first-primary";
const ANYWHERE = "first-unconstrained";
const ROWS = "ROWS_AND_COLUMNS";

class Session {
  #remote;
  #place; // a bookmark, or where the first query goes
  #follows;

  constructor(remote, place, follows) {
    this.#remote = remote;
    this.#place = place;
    this.#follows = follows;
  }

  get bookmark() {
    return this.#follows && this.#place !== PRIMARY && this.#place !== ANYWHERE ? this.#place : null;
  }

  // One result for each statement, or one alone where there is one statement; a failure is told in it.
  async send(path, statements, format) {
    const headers = { "content-type": "application/json", [BOOKMARK]: this.#place };
    const body = JSON.stringify(statements);
    const answer = await this.#remote.ask("POST", `${path}?resultsFormat=${format}`, { headers, body });
    this.#move(answer.headers.get(BOOKMARK)?.trim());
    const text = await answer.text();
    let results;
    try {
      results = JSON.parse(text);
    } catch {
      throw failure("D1_ERROR", `Failed to parse body as JSON, got: ${text}`);
    }
    return Array.isArray(results) ? results.map(resultOf) : resultOf(results);
  }

  async sendOrThrow(path, statements, format) {
    const results = await this.send(path, statements, format);
    const first = firstOf(results);
    if (!first.success) throw failure("D1_ERROR", first.error);
    return results;
  }

  #move(bookmark) {
    if (!this.#follows || !bookmark) return;
    if (this.bookmark === null || this.bookmark.localeCompare(bookmark) < 0) this.#place = bookmark;
  }
}

export class D1Database {
  #remote;
  #session;

  constructor(name) {
    this.#remote = new Remote(name);
    this.#session = new Session(this.#remote, PRIMARY, false);
  }

  prepare(query) {
    return new D1PreparedStatement(this.#session, query);
  }

  async batch(statements) {
    return batch(this.#session, statements);
  }

  async exec(query) {
    const lines = query.trim().split("\n");
    const sent = await this.#session.send("/execute", lines.map((sql) => ({ sql })), "NONE");
    const results = Array.isArray(sent) ? sent : [sent];
    results.forEach((result, index) => {
      if (result.success) return;
      const words = result.error ? `: ${result.error}` : "";
      throw failure("D1_EXEC_ERROR", `Error in line ${index + 1}: ${lines[index]}${words}`);
    });
    return { count: results.length, duration: results.reduce((sum, { meta }) => sum + meta.duration, 0) };
  }

  withSession(place) {
    return new D1DatabaseSession(new Session(this.#remote, place?.trim() || ANYWHERE, true));
  }

  async dump() {
    throw failure("D1_DUMP_ERROR", "Status 404");
  }
}

class D1DatabaseSession {
  #session;

  constructor(session) {
    this.#session = session;
  }

  prepare(query) {
    return new D1PreparedStatement(this.#session, query);
  }

  async batch(statements) {
    return batch(this.#session, statements);
  }

  getBookmark() {
    return this.#session.bookmark;
  }
}

class D1PreparedStatement {
  #session;

  constructor(session, statement, params = []) {
    this.#session = session;
    this.statement = statement;
    this.params = params;
  }

  bind(...values) {
    return new D1PreparedStatement(this.#session, this.statement, values.map(valueOf));
  }

  async first(column) {
    const [row] = objectsOf(await this.#query()).results;
    if (row === undefined) return null;
    if (column === undefined) return row;
    if (row[column] === undefined) {
      const words = `D1_COLUMN_NOTFOUND: Column not found (${column})`;
      throw new Error(words, { cause: new Error("Column not found") });
    }
    return row[column];
  }

  async run() {
    return firstOf(await this.#session.sendOrThrow("/execute", this.#sent(), "NONE"));
  }

  async all() {
    return objectsOf(await this.#query());
  }

  async raw(options) {
    const { results } = await this.#query();
    if (results === undefined) return [];
    return [...(options?.columnNames ? [results.columns] : []), ...results.rows];
  }

  async #query() {
    return firstOf(await this.#session.sendOrThrow("/query", this.#sent(), ROWS));
  }

  #sent() {
    return { sql: this.statement, params: this.params };
  }
}

async function batch(session, statements) {
  const sent = statements.map(({ statement, params }) => ({ sql: statement, params }));
  return (await session.sendOrThrow("/query", sent, ROWS)).map(objectsOf);
}

// What takes the place of a question mark, in JSON.
function valueOf(value) {
  if (value === null || typeof value === "number" || typeof value === "string") return value;
  if (typeof value === "boolean") return value ? 1 : 0;
  if (Array.isArray(value) && value.every((byte) => typeof byte === "number" && byte >= 0 && byte < 256)) return value;
  if (isBytes(value)) return Array.from(value instanceof ArrayBuffer ? new Uint8Array(value) : value);
  throw failure("D1_TYPE_ERROR", `Type '${typeof value}' not supported for value '${value}'`);
}

function resultOf({ error, meta, ...rest }) {
  if (error) return { success: false, error };
  return { success: true, meta, ...("results" in rest && { results: rest.results }) };
}

function objectsOf(result) {
  if (!("results" in result)) return { ...result, results: [] };
  const { columns, rows } = result.results;
  const named = (row) => Object.fromEntries(row.map((cell, index) => [columns[index], cell]));
  return { ...result, results: rows.map(named) };
}

function firstOf(results) {
  return Array.isArray(results) ? results[0] : results;
}

function failure(kind, words) {
  return new Error(`${kind}: ${words}`, { cause: new Error(words) });
}
