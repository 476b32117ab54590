import { Hono } from "hono";

const app = new Hono();

// A middleware runs around every route: this one says how long the answer took.
app.use(async (c, next) => {
  const started = Date.now();
  await next();
  c.header("Server-Timing", `app;dur=${Date.now() - started}`);
});

app.get("/", (c) =>
  c.json({
    message: "This API runs on Skerry.",
    try: ["GET /api/hello/you", "POST /api/echo"],
  }),
);

app.get("/api/hello/:name", (c) =>
  c.json({ message: `${c.env.GREETING}, ${c.req.param("name")}!` }),
);

app.post("/api/echo", async (c) => {
  let body;
  try {
    body = await c.req.json();
  } catch {
    return c.json({ error: "Send JSON in the body." }, 400);
  }
  return c.json({ youSent: body });
});

app.notFound((c) =>
  c.json({ error: `There is no ${c.req.method} ${c.req.path} here.` }, 404),
);

app.onError((error, c) => {
  console.error(error);
  return c.json({ error: "Something went wrong." }, 500);
});

export default app;
