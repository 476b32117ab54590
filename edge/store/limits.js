// Rate limits of one account on one node: how often each key was let through in the current period.
// In memory only: the longest period is a minute, and a count that is lost lets somebody through.
//
// `POST /limit {key, limit, period, delta}` of the binding's module (edge/cell/ratelimit.js); the
// caller's ticket names the namespace. Periods begin when the clock is a multiple of them, as in
// Miniflare; Cloudflare does not say when.

import { opened } from "./door.js";

// By period, which all end together: `{epoch, counts}`.
const periods = new Map();

export default {
  async fetch(request, env) {
    const namespace = await opened(request, env);
    if (namespace === null) return new Response(null, { status: 403, statusText: "Forbidden" });
    const { key, limit, period, delta } = await request.json();
    return Response.json({ success: passes(`${namespace} ${key}`, limit, period, delta) });
  },
};

function passes(key, limit, period, delta) {
  const epoch = Math.floor(Date.now() / (period * 1000));
  let current = periods.get(period);
  if (current?.epoch !== epoch) {
    current = { epoch, counts: new Map() };
    periods.set(period, current);
  }
  const count = current.counts.get(key) ?? 0;
  if (count >= limit) return false;
  current.counts.set(key, count + delta);
  return true;
}
