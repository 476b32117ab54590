// Each order is an instance of a workflow: it keeps what its steps gave, and waits for the payment
// without using anything.
import { WorkflowEntrypoint } from "cloudflare:workers";
import { NonRetryableError } from "cloudflare:workflows";

const PRICES = { boat: 120, oar: 15, anchor: 40 };

export class Order extends WorkflowEntrypoint {
  async run({ payload, instanceId }, step) {
    const price = await step.do("price the item", async () => {
      // What no retry can mend ends the order.
      if (!Object.hasOwn(PRICES, payload.item)) throw new NonRetryableError(`There is no ${payload.item}`);
      return PRICES[payload.item];
    });
    const payment = await step.waitForEvent("wait for the payment", { type: "paid", timeout: "7 days" });
    // A step that fails is tried again, and one that is done is never done twice.
    const parcel = await step.do("pack it", { retries: { limit: 3, delay: "5 seconds" } }, async () => {
      return `parcel-${instanceId.slice(0, 8)}`;
    });
    await step.sleep("let the tape dry", "1 second");
    return { item: payload.item, price, paidBy: payment.payload.by, parcel };
  }
}

export default {
  async fetch(request, env) {
    const { pathname } = new URL(request.url);
    const [, orders, id, pay] = pathname.split("/");
    if (pathname === "/") return html(start());
    if (orders !== "orders") return new Response("Not found", { status: 404 });
    if (!id) {
      if (request.method !== "POST") return Response.redirect(new URL("/", request.url), 303);
      const form = await request.formData();
      const order = await env.ORDERS.create({ params: { item: String(form.get("item") ?? "") } });
      return seen(request, order);
    }
    let order;
    try {
      order = await env.ORDERS.get(id);
    } catch {
      return new Response("There is no such order", { status: 404 });
    }
    if (pay === "pay" && request.method === "POST") {
      await order.sendEvent({ type: "paid", payload: { by: "card" } });
      return seen(request, order);
    }
    const status = await order.status();
    return asksForPage(request) ? html(shown(id, status)) : Response.json({ id, ...status });
  },
};

function asksForPage(request) {
  return request.headers.get("Accept")?.includes("text/html");
}

async function seen(request, order) {
  if (asksForPage(request)) return Response.redirect(new URL(`/orders/${order.id}`, request.url), 303);
  return Response.json({ id: order.id, status: (await order.status()).status });
}

function start() {
  const options = Object.entries(PRICES).map(([item, price]) => `<option value="${item}">${item}, ${price} €</option>`);
  return `<h1>Order something</h1>
  <form method="post" action="/orders">
    <label>What <select name="item">${options.join("")}</select></label>
    <button>Order</button>
  </form>`;
}

const WORDS = {
  complete: "Your order is on its way",
  errored: "Your order could not be carried out",
  terminated: "Your order was cancelled",
};

function shown(id, { status, output, error }) {
  const ended = Object.hasOwn(WORDS, status);
  return `<h1>${WORDS[status] ?? "Your order waits for its payment"}</h1>
  ${ended ? "" : `<form method="post" action="/orders/${id}/pay"><button>Pay</button></form>`}
  ${output ? `<p>${output.item} for ${output.price} €, paid by ${output.paidBy}: ${output.parcel}</p>` : ""}
  ${error ? `<p>${escaped(error.message)}</p>` : ""}
  <p><a href="/">Order something else</a></p>
  ${ended ? "" : `<script>
    const look = async () => {
      const { status } = await (await fetch("", { headers: { Accept: "application/json" } })).json();
      if (${JSON.stringify(Object.keys(WORDS))}.includes(status)) location.reload();
      else setTimeout(look, 1000);
    };
    setTimeout(look, 1000);
  </script>`}`;
}

function escaped(text) {
  return text.replace(/[&<>"]/g, (letter) => `&#${letter.charCodeAt(0)};`);
}

function html(main) {
  return new Response(
    `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Checkout</title>
<style>
  :root { color-scheme: light dark; font: 1.25rem system-ui; }
  main { max-width: 30rem; margin: 15vh auto; padding: 0 1rem; }
  select, button { font: inherit; padding: .4rem 1rem; }
</style>
<main>${main}</main>
</html>`,
    { headers: { "Content-Type": "text/html; charset=utf-8" } },
  );
}
