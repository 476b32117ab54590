// The rate limiting binding: `limit({ key })` answers `{ success }`. FETCHER leads to the account's
// counts on this node (edge/store/limits.js); LIMIT and PERIOD (seconds) are what the binding says.

const OPTIONS = ["key", "limit", "period", "delta"];
const PERIODS = [10, 60];
const LARGEST = 2 ** 32 - 1;

class RateLimit {
  #env;

  constructor(env) {
    this.#env = env;
  }

  async limit(options) {
    if (typeof options !== "object" || options === null) throw new Error("invalid rate limit options");
    const unknown = Object.keys(options).filter((name) => !OPTIONS.includes(name));
    if (unknown.length > 0) throw new Error(`bad rate limit options: [${unknown.join(",")}]`);
    const { key = "", limit = this.#env.LIMIT, period = this.#env.PERIOD, delta = 1 } = options;
    if (typeof key !== "string") throw new Error(`invalid key: ${key}`);
    if (typeof limit !== "number") throw new Error(`limit must be a number: ${limit}`);
    if (typeof period !== "number") throw new Error(`period must be a number: ${period}`);
    if (!PERIODS.includes(period)) throw new Error(`unsupported period: ${period}`);
    const body = JSON.stringify({ key, limit, period, delta: weight(delta) });
    const answer = await this.#env.FETCHER.fetch("http://limits/limit", { method: "POST", body });
    return answer.json();
  }
}

function weight(delta) {
  const value = Number(delta);
  if (!Number.isFinite(value)) throw new TypeError("The value cannot be converted because it is not an integer.");
  if (value < 0) {
    throw new TypeError(
      "The value cannot be converted because it is negative and this API expects a positive number.",
    );
  }
  if (value > LARGEST) throw new TypeError(`Value out of range. Must be less than or equal to ${LARGEST}.`);
  if (Math.trunc(value) === 0) throw new RangeError("delta must be non-zero");
  return Math.trunc(value);
}

export default (env) => new RateLimit(env);
