// What was packed: the version with its modules, and what it finds on `env`.

import { createDecipheriv } from "node:crypto";
import { readFileSync } from "node:fs";

// The ciphertext is in the ZIP; the key to it is in the function's configuration, which Lambda
// encrypts with KMS. Neither says anything without the other.
const KEY_VARIABLE = "VERSION_KEY";
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
// From here on `nodejs_compat` fills process.env by itself.
const ENVIRONMENT_FILLED_FROM = "2025-04-01";
// The role's credentials are Lambda's business and not the script's.
const HIDDEN = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", KEY_VARIABLE];

export function readVersion() {
  const version = JSON.parse(content("version.json").toString());
  const secrets = version.sealed ? JSON.parse(unsealed(content("secrets.sealed"))) : {};
  version.env = {};
  for (const binding of version.bindings) version.env[binding.name] = valueOf(binding, secrets);
  replaceEnvironment(version);
  return version;
}

export function content(path) {
  return readFileSync(new URL(path, import.meta.url));
}

export function arrayBuffer(buffer) {
  return buffer.buffer.slice(buffer.byteOffset, buffer.byteOffset + buffer.byteLength);
}

function valueOf(binding, secrets) {
  switch (binding.type) {
    case "secret_text":
      return secrets[binding.name];
    case "wasm_module":
      return new WebAssembly.Module(content(binding.file));
    case "text_blob":
      return content(binding.file).toString();
    case "data_blob":
      return arrayBuffer(content(binding.file));
    default:
      return binding.value;
  }
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
