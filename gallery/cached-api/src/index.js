// How long an answer is good, in seconds. `s-maxage` is for this cache, `max-age` for browsers.
const KEPT = 60;

export default {
  async fetch(request, env, ctx) {
    const url = new URL(request.url);
    const found = /^\/primes\/(\d{1,6})$/.exec(url.pathname);
    if (!found) return Response.json({ error: "Ask for /primes/1000, up to 999999." }, { status: 404 });
    // The address without its query is the key, so that ?a=1 and ?a=2 find the same answer.
    const key = new Request(url.origin + url.pathname);
    if (request.method === "DELETE") {
      return Response.json({ forgotten: await caches.default.delete(key) });
    }
    const cached = await caches.default.match(key);
    if (cached) return cached;

    const answer = Response.json(await slowAnswer(Number(found[1])), {
      headers: { "Cache-Control": `max-age=5, s-maxage=${KEPT}` },
    });
    // The visitor need not wait until it is stored.
    ctx.waitUntil(caches.default.put(key, answer.clone()));
    return answer;
  },
};

// Stands for a database or another API: replace it with a fetch() of yours.
async function slowAnswer(limit) {
  const composite = new Uint8Array(limit + 1);
  let primes = 0;
  for (let number = 2; number <= limit; number++) {
    if (composite[number]) continue;
    primes++;
    for (let multiple = number * number; multiple <= limit; multiple += number) composite[multiple] = 1;
  }
  return { limit, primes, computed: new Date().toISOString() };
}
