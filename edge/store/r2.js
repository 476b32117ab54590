// R2 of one account: buckets, of which a binding opens one.

import { count, scriptOf } from "./counting.js";
import { opened } from "./door.js";
import { Bucket } from "./r2/bucket.js";
import { awake } from "./shared.js";

export { Bucket };

export default {
  async fetch(request, env, ctx) {
    const name = await opened(request, env);
    if (name === null) return new Response(null, { status: 403, statusText: "Forbidden" });
    const bucket = await awake(env, env.BUCKET, env.BUCKET.idFromName(name));
    if (request.method === "POST" && new URL(request.url).pathname === "/destroy") {
      const status = { ended: 200, "not empty": 409, "left over": 500 }[await bucket.destroy()];
      return new Response(null, { status });
    }
    const reads = request.method === "GET" ? 1 : 0;
    count(scriptOf(request), ctx, reads, 1 - reads);
    return bucket.fetch(request);
  },
};
