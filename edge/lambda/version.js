// What was packed: the version with its modules, and what it finds on `env`.

import { createDecipheriv } from "node:crypto";
import { readFileSync } from "node:fs";

import { D1Database } from "./d1.js";
import { KvNamespace } from "./kv.js";
import { WorkerQueue } from "./queues.js";
import { R2Bucket } from "./r2.js";
import { serviceOf } from "./services.js";

// The ciphertext is in the ZIP; the key to it is in the function's configuration, which Lambda
// encrypts with KMS. Neither says anything without the other.
const KEY_VARIABLE = "VERSION_KEY";
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
// From here on `nodejs_compat` fills process.env by itself.
const ENVIRONMENT_FILLED_FROM = "2025-04-01";
const JSON_MESSAGES_FROM = "2024-03-18";
// The role's credentials are Lambda's business and not the script's.
const HIDDEN = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", KEY_VARIABLE];

export function readVersion() {
  const version = JSON.parse(content("version.json").toString());
  const secrets = version.sealed ? JSON.parse(unsealed(content("secrets.sealed"))) : {};
  version.env = {};
  for (const binding of version.bindings) version.env[binding.name] = valueOf(binding, secrets, version);
  replaceEnvironment(version);
  return version;
}

export function content(path) {
  return readFileSync(new URL(path, import.meta.url));
}

export function arrayBuffer(buffer) {
  return buffer.buffer.slice(buffer.byteOffset, buffer.byteOffset + buffer.byteLength);
}

function valueOf(binding, secrets, version) {
  switch (binding.type) {
    case "secret_text":
      return secrets[binding.name];
    case "wasm_module":
      return new WebAssembly.Module(content(binding.file));
    case "text_blob":
      return content(binding.file).toString();
    case "data_blob":
      return arrayBuffer(content(binding.file));
    case "kv_namespace":
      return new KvNamespace(binding.name);
    case "d1":
      return new D1Database(binding.name);
    case "r2_bucket":
      return new R2Bucket(binding.name);
    case "queue":
      return new WorkerQueue(binding.name, binding.delay, messagesOf(version));
    case "service":
      return serviceOf(binding.name, binding.own);
    default:
      return binding.value;
  }
}

// What a queue's messages are sent as by default.
function messagesOf({ compatibility_date, compatibility_flags }) {
  if (compatibility_flags.includes("no_queues_json_messages")) return "v8";
  const json = compatibility_flags.includes("queues_json_messages") || compatibility_date >= JSON_MESSAGES_FROM;
  return json ? "json" : "v8";
}

function unsealed(sealed) {
  const key = Buffer.from(process.env[KEY_VARIABLE] ?? "", "base64");
  const decipher = createDecipheriv("aes-256-gcm", key, sealed.subarray(0, NONCE_BYTES));
  decipher.setAuthTag(sealed.subarray(-TAG_BYTES));
  const text = decipher.update(sealed.subarray(NONCE_BYTES, -TAG_BYTES));
  return Buffer.concat([text, decipher.final()]).toString();
}

function replaceEnvironment(version) {
  for (const name of HIDDEN) delete process.env[name];
  const flags = new Set(version.compatibility_flags);
  if (!flags.has("nodejs_compat") || flags.has("nodejs_compat_do_not_populate_process_env")) return;
  const dated = version.compatibility_date >= ENVIRONMENT_FILLED_FROM;
  if (!dated && !flags.has("nodejs_compat_populate_process_env")) return;
  for (const { name, type } of version.bindings) {
    const value = version.env[name];
    if (typeof value === "string") process.env[name] = value;
    else if (type === "json") process.env[name] = JSON.stringify(value);
  }
}
