import { AutoRouter, error } from "itty-router";

// What a route gives back becomes JSON; an error becomes JSON with a status.
const router = AutoRouter();

router
  .get("/", () => ({ try: ["GET /hello/you?times=2", "POST /sum"] }))

  .get("/hello/:name", ({ params, query }) => {
    const times = Number(query.times ?? 1);
    if (!Number.isInteger(times) || times < 1 || times > 10) {
      return error(400, "times must be a whole number from 1 to 10.");
    }
    return Array(times).fill(`Hello, ${params.name}!`);
  })

  .post("/sum", async (request) => {
    const numbers = await request.json().catch(() => null);
    if (!Array.isArray(numbers) || !numbers.every(Number.isFinite)) {
      return error(400, "Send a JSON list of numbers, like [1, 2, 3].");
    }
    return { sum: numbers.reduce((total, number) => total + number, 0) };
  })

  .all("*", ({ method, url }) =>
    error(404, `There is no ${method} ${new URL(url).pathname} here.`),
  );

export default { fetch: router.fetch };
