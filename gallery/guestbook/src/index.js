// A guestbook in D1: whoever opens the page reads what others wrote, and writes below.

const TABLE = `CREATE TABLE IF NOT EXISTS entries (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  message TEXT NOT NULL,
  written_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
)`;
const LONGEST = 2000;

export default {
  async fetch(request, env) {
    if (request.method === "GET") return page(await entries(env.DB));
    if (request.method !== "POST") {
      return new Response("This page answers GET and POST.\n", {
        status: 405,
        headers: { Allow: "GET, POST" },
      });
    }
    const sent = await request.formData().catch(() => new FormData());
    const name = String(sent.get("name") ?? "").trim();
    const message = String(sent.get("message") ?? "").trim();
    if (!name || !message || name.length + message.length > LONGEST) {
      const problem = `Write a message and your name, of ${LONGEST} characters together.`;
      return page(await entries(env.DB), { name, message, problem }, 422);
    }
    const add = env.DB.prepare("INSERT INTO entries (name, message) VALUES (?, ?)");
    await env.DB.batch([env.DB.prepare(TABLE), add.bind(name, message)]);
    return new Response(null, { status: 303, headers: { Location: "/" } });
  },
};

// The newest first. A batch is one transaction; the table is made by whoever comes first.
async function entries(db) {
  const newest = db.prepare("SELECT name, message, written_at FROM entries ORDER BY id DESC LIMIT 100");
  const [, { results }] = await db.batch([db.prepare(TABLE), newest]);
  return results;
}

function page(written, { name = "", message = "", problem = "" } = {}, status = 200) {
  const document = html`<!doctype html>
    <html lang="en">
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width">
    <title>Guestbook</title>
    <h1>Guestbook</h1>
    <form method="post">
      <p><strong role="alert">${problem}</strong></p>
      <p><label for="name">Your name</label><br>
      <input id="name" name="name" value="${name}" required></p>
      <p><label for="message">Your message</label><br>
      <textarea id="message" name="message" rows="4" cols="40" required>${message}</textarea></p>
      <button>Sign</button>
    </form>
    <ul>${written.map((one) => html`<li><p>${one.message}</p><p>${one.name}, ${one.written_at} UTC</p></li>`)}</ul>
    ${written.length ? "" : html`<p>Nobody has written yet.</p>`}`;
  return new Response(document.text, {
    status,
    headers: { "Content-Type": "text/html; charset=utf-8" },
  });
}

// Marks text as HTML. What is put into it is escaped, so that nobody writes tags into the page.
function html(strings, ...values) {
  return { text: String.raw({ raw: strings }, ...values.map(escape)) };
}

function escape(value) {
  if (Array.isArray(value)) return value.map(escape).join("");
  if (value?.text !== undefined) return value.text;
  return String(value).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
