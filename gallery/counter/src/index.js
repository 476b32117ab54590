// One Durable Object for each path counts what is posted to it, and tells every open page.
import { DurableObject } from "cloudflare:workers";

export class Counter extends DurableObject {
  constructor(ctx, env) {
    super(ctx, env);
    ctx.storage.sql.exec("CREATE TABLE IF NOT EXISTS total (id INTEGER PRIMARY KEY, count INTEGER)");
    ctx.storage.sql.exec("INSERT OR IGNORE INTO total VALUES (1, 0)");
  }

  count() {
    return this.ctx.storage.sql.exec("SELECT count FROM total").one().count;
  }

  // One object runs one thing at a time, so no two visitors get the same number.
  increment() {
    this.ctx.storage.sql.exec("UPDATE total SET count = count + 1");
    const count = this.count();
    for (const socket of this.ctx.getWebSockets()) socket.send(String(count));
    return count;
  }

  // The object may sleep while its sockets stay open.
  fetch() {
    const { 0: client, 1: server } = new WebSocketPair();
    this.ctx.acceptWebSocket(server);
    server.send(String(this.count()));
    return new Response(null, { status: 101, webSocket: client });
  }
}

export default {
  async fetch(request, env) {
    const counter = env.COUNTER.getByName(new URL(request.url).pathname);
    if (request.headers.get("Upgrade") === "websocket") return counter.fetch(request);
    if (request.method === "POST") {
      const count = await counter.increment();
      const browser = request.headers.get("Accept")?.includes("text/html");
      return browser ? Response.redirect(request.url, 303) : Response.json({ count });
    }
    return new Response(page(await counter.count()), {
      headers: { "Content-Type": "text/html; charset=utf-8" },
    });
  },
};

function page(count) {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Counter</title>
<style>
  :root { color-scheme: light dark; font: 1.25rem system-ui; }
  main { max-width: 24rem; margin: 15vh auto; text-align: center; }
  output { display: block; font-size: 5rem; font-variant-numeric: tabular-nums; }
  button { font: inherit; padding: .5rem 1.5rem; }
</style>
<main>
  <h1>Counted so far</h1>
  <output aria-live="polite">${count}</output>
  <form method="post"><button>Add one</button></form>
</main>
<script>
  const address = location.href.replace(/^http/, "ws");
  const show = (event) => { document.querySelector("output").value = event.data; };
  const open = () => {
    const socket = new WebSocket(address);
    socket.onmessage = show;
    socket.onclose = () => setTimeout(open, 1000);
  };
  open();
  document.querySelector("form").onsubmit = (event) => {
    event.preventDefault();
    fetch("", { method: "POST" });
  };
</script>
</html>`;
}
