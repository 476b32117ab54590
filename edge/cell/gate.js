// How other Workers of the account reach this one's Durable Objects: each class that one of them binds has a
// socket that leads here, with `props` that name it and a namespace in `env` by that name. The other side is
// objects.js in the caller's cell.
import { WorkerEntrypoint } from "cloudflare:workers";

const OBJECT = "x-skerry-object";
const THREW = "x-skerry-threw";
// What the runtime says of an error besides its name and message.
const FLAGS = ["remote", "retryable", "overloaded", "durableObjectReset"];

export class Objects extends WorkerEntrypoint {
  async fetch(request) {
    const [who, protocol] = JSON.parse(decodeURIComponent(request.headers.get(OBJECT)));
    const url = new URL(request.url);
    url.protocol = protocol;
    const passed = new Request(url, request);
    passed.headers.delete(OBJECT);
    try {
      return await this.#object(who).fetch(passed);
    } catch (error) {
      return new Response(null, { status: 500, headers: { [THREW]: told(error) } });
    }
  }

  // A method with its arguments, or a property without.
  invoke(who, path, args) {
    const member = path.reduce((found, key) => found[key], this.#object(who));
    return args ? member(...args) : member;
  }

  #object([id, name]) {
    const { class_name } = this.ctx.props;
    const namespace = this.env[class_name];
    if (!namespace) throw new Error(`The Worker that was called has no class ${class_name} with Durable Objects now.`);
    // By its name, so that the object knows it, too.
    return name === undefined || name === null ? namespace.get(namespace.idFromString(id)) : namespace.getByName(name);
  }
}

function told(error) {
  const flags = Object.fromEntries(FLAGS.filter((flag) => error?.[flag]).map((flag) => [flag, error[flag]]));
  const said = { name: error?.name ?? "Error", message: String(error?.message ?? error), ...flags };
  return encodeURIComponent(JSON.stringify(said));
}
