const fields = [
  { name: "name", label: "Your name", check: (text) => (text ? "" : "Say who you are.") },
  {
    name: "email",
    label: "Your e-mail address",
    type: "email",
    check: (text) => (/^\S+@\S+\.\S+$/.test(text) ? "" : "Give an address like ada@example.org."),
  },
  {
    name: "message",
    label: "Your message",
    check: (text) => (text.length >= 5 ? "" : "Write at least five characters."),
  },
];

export default {
  async fetch(request, env, ctx) {
    if (request.method === "GET") return page(env.TITLE, form());
    if (request.method !== "POST") {
      return new Response("This page answers GET and POST.\n", {
        status: 405,
        headers: { Allow: "GET, POST" },
      });
    }
    const sent = await request.formData().catch(() => new FormData());
    const values = {};
    const errors = {};
    for (const { name, check } of fields) {
      values[name] = String(sent.get(name) ?? "").trim();
      errors[name] = check(values[name]);
    }

    // Browsers check too, but only the Worker can be sure: anybody can send it anything.
    if (Object.values(errors).some(Boolean)) return page(env.TITLE, form(values, errors), 422);

    // Here the message would be stored or sent on.
    const thanks = `Thank you, ${values.name}. We will answer to ${values.email}.`;
    return page("Sent", html`<p>${thanks}</p>`);
  },
};

function form(values = {}, errors = {}) {
  return html`<form method="post">
    ${fields.map(({ name, label, type = "text" }) => html`<p>
      <label for="${name}">${label}</label><br>
      <input id="${name}" name="${name}" type="${type}" value="${values[name] ?? ""}" required>
      <strong role="alert">${errors[name] ?? ""}</strong>
    </p>`)}
    <button>Send</button>
  </form>`;
}

function page(title, content, status = 200) {
  const document = html`<!doctype html>
    <html lang="en">
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width">
    <title>${title}</title>
    <h1>${title}</h1>
    ${content}`;
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
