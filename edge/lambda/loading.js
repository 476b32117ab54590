// Loads a version's modules as workerd does: by the names they were uploaded with, each by its type.

import { isBuiltin, registerHooks } from "node:module";
import { runInThisContext, compileFunction } from "node:vm";

import { runClassic } from "./classic.js";
import { arrayBuffer, content } from "./version.js";
import { provide } from "./workers.js";

const SCHEME = "worker:///";
const WORKERS = new URL("./workers.js", import.meta.url).href;
// How the sources that are made here find the bytes of their module.
const BYTES = Symbol.for("skerry.module");

// Answers an object with `fetch`, `scheduled` and `queue`; those that the script lacks throw. `enter` gives
// the `fetch` of one of its entrypoints, `member` one of its methods or properties.
export async function loadScript(version) {
  provide(version.env);
  if (version.syntax === "service-worker") {
    const source = content(version.modules[0].file).toString();
    const script = runClassic(version.env, () => runInThisContext(source, { filename: "worker.js" }));
    return { ...script, enter: () => script.fetch, member: (_, key) => memberOf(null, key) };
  }
  const modules = new Map(version.modules.map((module) => [normal(module.name), module]));
  registerModules(modules);
  const exported = await import(addressOf(normal(version.main_module)));
  const named = (name) => [name, handlerOf(exported.default, name)];
  const enter = (entrypoint) => handlerOf(exported[entrypoint || "default"], "fetch");
  const member = (entrypoint, ...rest) => memberOf(exported[entrypoint || "default"], ...rest);
  return { ...Object.fromEntries(["fetch", "scheduled", "queue"].map(named)), enter, member };
}

// Of an entrypoint that is a class; what an instance has by itself is its own affair.
function memberOf(Entrypoint, key, ctx, env) {
  const instance = typeof Entrypoint === "function" ? new Entrypoint(ctx, env) : {};
  const found = key in Object.prototype || Object.hasOwn(instance, key) ? undefined : instance[key];
  if (found === undefined) throw new TypeError(`The RPC receiver does not implement the method "${key}".`);
  return typeof found === "function" ? found.bind(instance) : found;
}

function handlerOf(exported, name) {
  if (typeof exported === "function") {
    return async (argument, env, ctx) => called(new exported(ctx, env), name, argument, env, ctx);
  }
  return async (argument, env, ctx) => called(exported, name, argument, env, ctx);
}

function called(holder, name, ...rest) {
  if (typeof holder?.[name] !== "function") {
    throw new TypeError(`Handler does not export a ${name}() function.`);
  }
  return holder[name](...rest);
}

function registerModules(modules) {
  const required = new Map();
  globalThis[BYTES] = (name) => valueOf(modules, required, name);
  registerHooks({
    resolve(specifier, context, next) {
      if (specifier.startsWith(SCHEME)) return { url: specifier, shortCircuit: true };
      if (!context.parentURL?.startsWith(SCHEME)) return next(specifier, context);
      if (specifier === "cloudflare:workers") return { url: WORKERS, shortCircuit: true };
      const name = resolved(specifier, nameOf(context.parentURL));
      if (modules.has(name)) return { url: addressOf(name), shortCircuit: true };
      if (isBuiltin(specifier)) return next(specifier, context);
      throw new Error(`No such module "${name}".\n  imported from "${nameOf(context.parentURL)}"`);
    },
    load(url, context, next) {
      if (!url.startsWith(SCHEME)) return next(url, context);
      const source = sourceOf(modules.get(nameOf(url)), nameOf(url));
      return { format: "module", source, shortCircuit: true };
    },
  });
}

function sourceOf(module, name) {
  if (module.type === "esm") return content(module.file).toString();
  return `export default globalThis[Symbol.for("skerry.module")](${JSON.stringify(name)});`;
}

// What a module that is no ES module is worth, to `import` and to `require`.
function valueOf(modules, required, name) {
  const module = modules.get(name);
  switch (module.type) {
    case "text":
      return content(module.file).toString();
    case "json":
      return JSON.parse(content(module.file).toString());
    case "data":
      return arrayBuffer(content(module.file));
    case "wasm":
      return new WebAssembly.Module(content(module.file));
    default:
      return commonJs(modules, required, name);
  }
}

function commonJs(modules, required, name) {
  if (required.has(name)) return required.get(name).exports;
  const module = { exports: {} };
  required.set(name, module);
  const require = (specifier) => {
    const wanted = resolved(specifier, name);
    if (modules.has(wanted) && modules.get(wanted).type !== "esm") return valueOf(modules, required, wanted);
    if (isBuiltin(specifier)) return process.getBuiltinModule(specifier);
    throw new Error(`No such module "${wanted}".\n  imported from "${name}"`);
  };
  const source = content(modules.get(name).file).toString();
  const run = compileFunction(source, ["exports", "require", "module"], { filename: name });
  run.call(module.exports, module.exports, require, module);
  return module.exports;
}

// A specifier, bare ones too, is a path from the folder of the module that imports it.
function resolved(specifier, from) {
  return normal(specifier.startsWith("/") ? specifier : `${from}/../${specifier}`);
}

function normal(path) {
  const parts = [];
  for (const part of path.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "." && part !== "") parts.push(part);
  }
  return parts.join("/");
}

function addressOf(name) {
  return SCHEME + name.split("/").map(encodeURIComponent).join("/");
}

function nameOf(url) {
  return url.slice(SCHEME.length).split("/").map(decodeURIComponent).join("/");
}
