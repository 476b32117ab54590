// Runs beside the customer's script inside its cell, behind a control socket that only the agent
// can open. USER is the script, VERSION_ID says which version this cell is. Scheduled events and
// queue batches will arrive here too, because `env.USER` is the only way to deliver them.

export default {
  async fetch(request, env) {
    const { pathname } = new URL(request.url);
    if (request.method === "GET" && pathname === "/probe") {
      return Response.json({ version_id: env.VERSION_ID });
    }
    return new Response("not found", { status: 404 });
  },
};
