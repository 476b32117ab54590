// The Cache API of one account: what its scripts put into `caches`, on this node only, and only for a
// while. Each script has a cache of its own.

import { Cache } from "./cache/cache.js";

export { Cache };

export default {
  // One object has all of them: they share the account's part of the node's room.
  fetch: (request, env) => env.CACHE.get(env.CACHE.idFromName("all")).fetch(request),
};
