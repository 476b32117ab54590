// PUT an address to a short name with the API key; whoever opens the name is sent there.
//
//   curl -X PUT -H "Authorization: Bearer $API_KEY" --data https://example.org/ https://…/docs

export default {
  async fetch(request, env) {
    const name = decodeURIComponent(new URL(request.url).pathname.slice(1));
    if (!/^[\w-]{1,64}$/.test(name)) return new Response("Names are letters and digits.", { status: 404 });
    if (request.method === "GET" || request.method === "HEAD") return follow(name, env);
    if (request.headers.get("Authorization") !== `Bearer ${env.API_KEY}`) {
      return new Response("Send the API key.", { status: 401 });
    }
    if (request.method === "DELETE") {
      await env.LINKS.delete(name);
      return new Response(null, { status: 204 });
    }
    if (request.method !== "PUT") return new Response("PUT or DELETE a name.", { status: 405 });
    return keep(name, await request.text(), env);
  },
};

async function follow(name, env) {
  const target = await env.LINKS.get(name);
  return target ? Response.redirect(target, 302) : new Response("No such link.", { status: 404 });
}

async function keep(name, text, env) {
  const target = URL.parse(text.trim());
  if (!target || !/^https?:$/.test(target.protocol)) {
    return new Response("Send an address that begins with http.", { status: 400 });
  }
  await env.LINKS.put(name, target.href);
  return Response.json({ name, target: target.href }, { status: 201 });
}
