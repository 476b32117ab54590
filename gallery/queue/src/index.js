// Takes jobs at once and works on them later. `fetch` is what visitors see: it puts each job into the
// queue JOBS and answers. `queue` is given the jobs in batches, works on them and writes what came of them
// into DONE. Whatever happens in between, no job is lost: one that fails is given to it again.

const DAY_SECONDS = 24 * 60 * 60;
const LONGEST = 1000;

export default {
  async fetch(request, env) {
    const { pathname } = new URL(request.url);
    if (request.method === "POST" && pathname === "/jobs") return take(request, env);
    if (pathname.startsWith("/jobs/")) return show(pathname.slice("/jobs/".length), env);
    if (pathname === "/") return page();
    return new Response("There is no such page.\n", { status: 404 });
  },

  async queue(batch, env) {
    for (const message of batch.messages) {
      const { id, text } = message.body;
      // Here goes the real work. If it throws, this job comes again and those before it do not.
      const result = { words: text.split(/\s+/).filter(Boolean).length, attempts: message.attempts };
      await env.DONE.put(id, JSON.stringify(result), { expirationTtl: DAY_SECONDS });
      message.ack();
    }
  },
};

async function take(request, env) {
  const text = request.headers.get("content-type")?.startsWith("multipart/form-data")
    ? String((await request.formData()).get("text") ?? "")
    : await request.text();
  if (!text || text.length > LONGEST) {
    return new Response(`Send 1 to ${LONGEST} characters.\n`, { status: 400 });
  }
  const id = crypto.randomUUID();
  await env.JOBS.send({ id, text });
  const status = `/jobs/${id}`;
  return Response.json({ id, status }, { status: 202, headers: { location: status } });
}

async function show(id, env) {
  const result = await env.DONE.get(id, "json");
  if (result === null) return Response.json({ state: "waiting, or unknown" }, { status: 404 });
  return Response.json({ state: "done", ...result });
}

function page() {
  const html = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Count words later</title>
<style>
  body { font: 1.1rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: 3rem auto; padding: 0 1rem; }
  textarea { font: inherit; width: 100%; box-sizing: border-box; }
  button { font: inherit; padding: 0.4rem 1rem; }
</style>
<h1>Count words later</h1>
<form id="form">
  <p><label for="text">Text</label><br><textarea id="text" name="text" rows="5" maxlength="${LONGEST}" required></textarea></p>
  <p><button>Queue it</button></p>
</form>
<p id="said" role="status"></p>
<script>
  const said = document.getElementById("said");
  const wait = (ms) => new Promise((done) => setTimeout(done, ms));
  document.getElementById("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const answer = await fetch("/jobs", { method: "POST", body: new FormData(event.target) });
    if (!answer.ok) return void (said.textContent = await answer.text());
    const { status } = await answer.json();
    said.textContent = "It is in the queue.";
    for (let tries = 0; tries < 60; tries++) {
      await wait(500);
      const result = await fetch(status);
      if (result.ok) return void (said.textContent = (await result.json()).words + " words.");
    }
    said.textContent = "It is still in the queue.";
  });
</script>
`;
  return new Response(html, { headers: { "content-type": "text/html;charset=utf-8" } });
}
