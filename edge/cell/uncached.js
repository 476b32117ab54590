// The Cache API of a preview: it takes everything and keeps nothing.

export default {
  async fetch(request) {
    if (request.method === "GET") return new Response(null, { status: 504, headers: { "CF-Cache-Status": "MISS" } });
    await request.body?.pipeTo(new WritableStream());
    return new Response(null, { status: request.method === "PUT" ? 204 : 404 });
  },
};
