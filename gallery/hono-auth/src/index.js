import { Hono } from "hono";
import { bearerAuth } from "hono/bearer-auth";

const app = new Hono();

// Anybody may ask for this.
app.get("/", (c) => c.json({ message: "Send your API key to /api/me." }));

// A middleware runs before the routes below it: without the key nobody gets past this one.
// It compares in constant time, so nobody finds the key letter by letter.
app.use("/api/*", (c, next) =>
  bearerAuth({
    token: c.env.API_KEY,
    noAuthenticationHeader: says("Send the header: Authorization: Bearer <key>."),
    invalidAuthenticationHeader: says("The header is not: Bearer <key>."),
    invalidToken: says("That is not the key."),
  })(c, next),
);

app.get("/api/me", (c) => c.json({ message: "You have the key." }));

app.notFound((c) => c.json({ error: `There is no ${c.req.method} ${c.req.path} here.` }, 404));

function says(error) {
  return { message: { error } };
}

export default app;
