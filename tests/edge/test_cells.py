"""What a script finds in its cell: modules of every kind, bindings, the platform around it."""

import time
from collections.abc import Sequence

import pytest

from tests.edge.bundles import Bundle, Json, digest_of
from tests.edge.nodes import TestNode, until

pytestmark = pytest.mark.edge

# (module (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))
ADD_WASM = bytes.fromhex(
    "0061736d0100000001070160027f7f017f030201000707010361646400000a09010700200020016a0b"
)


def answer_of(node: TestNode, name: str, bundle: Bundle) -> Json:
    said = node.deploy(name, bundle)
    assert said["state"] == "live", said
    answer = node.visit(name)
    assert answer.status == 200, answer.text
    return answer.json()


def test_modules_of_every_kind(node: TestNode) -> None:
    source = """
import text from "./words.txt";
import bytes from "./raw.bin";
import tree from "./tree.json";
import module from "./add.wasm";
import old from "./old.cjs";
import { deep } from "./lib/deep.mjs";
const { exports } = new WebAssembly.Instance(module);
export default {
  fetch() {
    return Response.json({
      text, bytes: [...new Uint8Array(bytes)], tree, sum: exports.add(2, 3), old: old.word, deep,
    });
  },
};
"""
    modules: Sequence[tuple[str, str, str | bytes]] = [
        ("words.txt", "text", "snowman ☃"),
        ("raw.bin", "data", b"\x00\xff\x01"),
        ("tree.json", "json", '{"leaf": [1, null]}'),
        ("add.wasm", "wasm", ADD_WASM),
        ("old.cjs", "cjs", "module.exports = { word: 'old' };"),
        ("lib/deep.mjs", "esm", "export const deep = 'deep';"),
    ]
    assert answer_of(node, "modules", Bundle(source, modules=list(modules))) == {
        "text": "snowman ☃",
        "bytes": [0, 255, 1],
        "tree": {"leaf": [1, None]},
        "sum": 5,
        "old": "old",
        "deep": "deep",
    }


def test_names_as_wrangler_writes_them(node: TestNode) -> None:
    source = 'import text from "./5d1c-words.txt"; export default { fetch: () => Response.json({ text }) };'
    bundle = Bundle(source, modules=[("./5d1c-words.txt", "text", "found")])
    assert answer_of(node, "dotted", bundle) == {"text": "found"}


def test_bindings(node: TestNode) -> None:
    source = "export default { fetch: (request, env) => Response.json(env) };"
    bindings: list[Json] = [
        {"name": "GREETING", "type": "plain_text", "text": "hello"},
        {"name": "LIMITS", "type": "json", "json": {"most": [1, 2]}},
        {"name": "PASSWORD", "type": "secret_text", "text": 'quo"te\n☃'},
        {
            "name": "CF_VERSION_METADATA",
            "type": "version_metadata",
            "id": "v1",
            "tag": "first",
            "timestamp": "2026-11-22T00:00:00Z",
        },
    ]
    assert answer_of(node, "bindings", Bundle(source, bindings=bindings)) == {
        "GREETING": "hello",
        "LIMITS": {"most": [1, 2]},
        "PASSWORD": 'quo"te\n☃',
        "CF_VERSION_METADATA": {
            "id": "v1",
            "tag": "first",
            "timestamp": "2026-11-22T00:00:00Z",
        },
    }


def test_service_worker_syntax_with_file_bindings(node: TestNode) -> None:
    source = """
addEventListener("fetch", (event) => event.respondWith(answer(event.request)));
async function answer() {
  const { exports } = new WebAssembly.Instance(ADD);
  return Response.json({
    sum: exports.add(20, 22), words: WORDS, raw: [...new Uint8Array(RAW)], greeting: GREETING,
  });
}
"""
    bindings: list[Json] = [
        {"name": "ADD", "type": "wasm_module", "digest": digest_of(ADD_WASM)},
        {"name": "WORDS", "type": "text_blob", "digest": digest_of(b"some words")},
        {"name": "RAW", "type": "data_blob", "digest": digest_of(b"\x00\x07")},
        {"name": "GREETING", "type": "plain_text", "text": "hello"},
    ]
    bundle = Bundle(
        source,
        main_module="worker.js",
        syntax="service-worker",
        bindings=bindings,
        extra_files=[ADD_WASM, b"some words", b"\x00\x07"],
    )
    assert answer_of(node, "classic", bundle) == {
        "sum": 42,
        "words": "some words",
        "raw": [0, 7],
        "greeting": "hello",
    }


def test_a_date_the_runtime_does_not_know_yet_runs_with_the_newest(node: TestNode) -> None:
    source = "export default { fetch: () => Response.json({ ok: true }) };"
    assert answer_of(node, "eager", Bundle(source, compatibility_date="2999-01-01"))["ok"] is True


def test_flags_reach_the_script(node: TestNode) -> None:
    source = 'import { Buffer } from "node:buffer"; export default { fetch: () => Response.json({ hex: Buffer.from("hi").toString("hex") }) };'
    bundle = Bundle(source, compatibility_flags=["nodejs_compat"])
    assert answer_of(node, "node-compat", bundle) == {"hex": "6869"}


def test_process_env_holds_the_scripts_own_values_only(node: TestNode) -> None:
    source = "export default { fetch: () => Response.json({ env: { ...process.env } }) };"
    bindings: list[Json] = [{"name": "GREETING", "type": "plain_text", "text": "hello"}]
    bundle = Bundle(source, compatibility_flags=["nodejs_compat"], bindings=bindings)
    assert answer_of(node, "environment", bundle) == {"env": {"GREETING": "hello"}}


def test_a_big_bundle(node: TestNode) -> None:
    source = 'import raw from "./big.bin"; export default { fetch: () => Response.json({ size: raw.byteLength }) };'
    big = bytes(range(256)) * 4 * 1024 * 20  # 20 MiB
    bundle = Bundle(source, modules=[("big.bin", "data", big)])
    assert answer_of(node, "big", bundle) == {"size": len(big)}


def test_private_addresses_are_out_of_reach(node: TestNode) -> None:
    source = f"""
export default {{
  async fetch() {{
    const {{ status }} = await fetch("http://127.0.0.1:{node.http_port}/");
    return Response.json({{ status }});
  }},
}};"""
    assert answer_of(node, "prisoner", Bundle(source)) == {"status": 500}


def test_what_only_the_runtime_says_of_its_options_is_logged_of_a_script(node: TestNode) -> None:
    words = "per-isolate bootstrap compile cache failed its compatibility check"
    source = (
        f"export default {{ fetch() {{ console.log('{words}'); return new Response('x'); }} }};"
    )
    bundle = Bundle(source)
    node.deploy("bootstrap", bundle)
    node.visit("bootstrap")
    until(lambda: lines_of(node, bundle), what="the line is logged")
    assert [line["line"] for line in lines_of(node, bundle)] == [words]


def test_what_a_cell_prints_is_logged_with_its_version(node: TestNode) -> None:
    source = "export default { fetch() { console.warn('a line', { n: 1 }); return new Response('x'); } };"
    bundle = Bundle(source)
    node.deploy("talker", bundle)
    node.visit("talker")
    until(lambda: lines_of(node, bundle), what="the line is logged")
    (line,) = lines_of(node, bundle)
    assert (line["line"], line["line_level"]) == ("a line { n: 1 }", "warn")


def lines_of(node: TestNode, bundle: Bundle) -> list[Json]:
    return [line for line in node.events("log_line") if line["version_id"] == bundle.version_id]


def test_a_flood_of_lines_neither_stops_the_cell_nor_the_agent(node: TestNode) -> None:
    source = """
export default { fetch() {
  for (let i = 0; i < 20000; i++) console.log("line", i);
  return Response.json({ ok: true });
} };"""
    assert answer_of(node, "flood", Bundle(source))["ok"] is True
    time.sleep(0.5)
    assert node.visit("flood").json()["ok"] is True
    assert node.status()["node_id"]


def test_a_cell_that_dies_comes_back_on_its_socket(node: TestNode) -> None:
    source = """
import { abortIsolate } from "cloudflare:workers";
let count = 0;
export default { fetch(request) {
  if (request.url.endsWith("/die")) abortIsolate("over");
  return Response.json({ count: ++count });
} };"""
    assert answer_of(node, "mortal", Bundle(source)) == {"count": 1}
    assert node.visit("mortal", "/die").status == 503
    assert node.visit("mortal").json() == {"count": 1}  # waited for the new process, got no error
    assert node.events("cell_died")
