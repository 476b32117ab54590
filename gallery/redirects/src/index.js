// Old path → new address. A target that begins with / stays on this host.
const redirects = new Map([
  ["/docs", "https://developers.cloudflare.com/workers/"],
  ["/source", "https://github.com/cloudflare/workerd"],
  ["/manual", "/docs"],
]);

// 302 is asked again every time. Browsers remember a 301 for good: use it once the map is right.
const STATUS = 302;

export default {
  async fetch(request, env, ctx) {
    const asked = new URL(request.url);
    const target = redirects.get(asked.pathname) ?? env.ELSEWHERE;
    if (!target) {
      return new Response(`Nothing is known about ${asked.pathname}.\n`, { status: 404 });
    }
    const address = new URL(target, asked);
    for (const [name, value] of asked.searchParams) address.searchParams.append(name, value);
    return Response.redirect(address, STATUS);
  },
};
