// Main module of the throw-away worker that edge.check starts beside a script: tells which handlers
// the script exports. The import is rewritten to the script's main module.
import * as script from "./script.js";

const HANDLERS = ["fetch", "scheduled", "queue", "email", "tail", "trace", "tailStream", "test"];

// A class exports what its prototype has; an object (a framework's app too) what it has itself.
function handlersOf(exported) {
  const holder = typeof exported === "function" ? exported.prototype : exported;
  if (holder === null || typeof holder !== "object") return [];
  return HANDLERS.filter((name) => typeof holder[name] === "function");
}

export default {
  fetch() {
    const named = Object.keys(script)
      .filter((name) => name !== "default" && typeof script[name] === "function")
      .map((name) => ({ name, handlers: handlersOf(script[name]) }));
    return Response.json({ handlers: handlersOf(script.default), named_handlers: named });
  },
};
