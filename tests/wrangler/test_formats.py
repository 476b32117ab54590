"""What can be uploaded: both syntaxes, every kind of module, bundles, flags and dates."""

import json

import pytest

from tests.platform import ROOT
from tests.wrangler.conftest import Project, Wrangler

pytestmark = pytest.mark.xdist_group("wrangler")

# (module (func (export "answer") (result i32) i32.const 42))
WASM = bytes.fromhex(
    "0061736d01000000" "010501" "60" "00017f" "03020100" "070a01" "06616e73776572" "0000" "0a06010400412a0b"
)  # fmt: skip


def test_modules_as_they_are(wrangler: Wrangler, project: Project) -> None:
    """Without bundling, each file becomes a module under its own path."""
    project.write(
        {
            "index.js": """
                import { greet } from "./lib/greet.js";
                import words from "./words/ähm.txt";
                import bytes from "./blob.bin";
                import answer from "./answer.wasm";

                export default {
                    async fetch() {
                        const { exports } = await WebAssembly.instantiate(answer);
                        return Response.json([
                            greet("you"), words, [...new Uint8Array(bytes)], exports.answer(),
                        ]);
                    },
                };
            """,
            "lib/greet.js": "export const greet = (name) => `hello ${name}`;\n",
            "words/ähm.txt": "words, ünd mehr",
            "blob.bin": b"\x00\xff\r\n--x",
            "answer.wasm": WASM,
        }
    )
    project.configure(
        no_bundle=True,
        find_additional_modules=True,
        rules=[
            {"type": "ESModule", "globs": ["lib/*.js"], "fallthrough": True},
            {"type": "Text", "globs": ["words/*.txt"], "fallthrough": True},
            {"type": "Data", "globs": ["**/*.bin"], "fallthrough": True},
            {"type": "CompiledWasm", "globs": ["**/*.wasm"], "fallthrough": True},
        ],
    )
    wrangler("deploy")
    answer = ["hello you", "words, ünd mehr", [0, 255, 13, 10, 45, 45, 120], 42]
    assert project.platform.get(project.hostname).json() == answer


def test_service_worker_syntax(newest: Wrangler, project: Project) -> None:
    project.write(
        {
            "index.js": """
                addEventListener("fetch", (event) => {
                    const { exports } = new WebAssembly.Instance(ANSWER);
                    const bytes = [...new Uint8Array(BYTES)];
                    event.respondWith(Response.json([WORDS, bytes, exports.answer(), STAGE]));
                });
            """,
            "words.txt": "some words",
            "bytes.bin": b"\x00\x01\xff",
            "answer.wasm": WASM,
        }
    )
    project.configure(
        vars={"STAGE": "test"},
        text_blobs={"WORDS": "words.txt"},
        data_blobs={"BYTES": "bytes.bin"},
        wasm_modules={"ANSWER": "answer.wasm"},
    )
    newest("deploy")
    answer = ["some words", [0, 1, 255], 42, "test"]
    assert project.platform.get(project.hostname).json() == answer


def test_a_hono_app_in_a_bundle(newest: Wrangler, project: Project) -> None:
    """wrangler's own bundler, minified, with source maps and assets; Node's modules by flag."""
    (project.folder / "node_modules").mkdir()
    (project.folder / "node_modules" / "hono").symlink_to(ROOT / "node_modules" / "hono")
    project.write(
        {
            "src/index.ts": """
                import { Buffer } from "node:buffer";
                import process from "node:process";
                import { Hono } from "hono";
                import settings from "./settings.json";
                import motto from "./motto.txt";
                import bytes from "./bytes.bin";
                import answer from "./answer.wasm";

                const { exports } = new WebAssembly.Instance(answer);
                const app = new Hono<{ Bindings: { STAGE: string } }>();
                app.get("/hello/:name", (c) => c.json({
                    hello: c.req.param("name"),
                    base64: Buffer.from("skerry").toString("base64"),
                    process: typeof process.nextTick,
                    stage: c.env.STAGE,
                    settings,
                    motto,
                    bytes: [...new Uint8Array(bytes)],
                    answer: (exports.answer as () => number)(),
                }));
                export default app;
            """,
            "src/settings.json": json.dumps({"deep": {"er": [1, 2]}}),
            "src/motto.txt": "land ahoy",
            "src/bytes.bin": b"\xff\x00",
            "src/answer.wasm": WASM,
        }
    )
    project.configure(
        main="src/index.ts",
        compatibility_flags=["nodejs_compat"],
        minify=True,
        upload_source_maps=True,
        vars={"STAGE": "test"},
    )
    newest("deploy")
    answer = project.platform.get(project.hostname, "/hello/ada?x=1")
    assert answer.json() == {
        "hello": "ada",
        "base64": "c2tlcnJ5",
        "process": "function",
        "stage": "test",
        "settings": {"deep": {"er": [1, 2]}},
        "motto": "land ahoy",
        "bytes": [255, 0],
        "answer": 42,
    }
    assert project.platform.get(project.hostname, "/elsewhere").status_code == 404
    # The map came with the upload, and is no module.
    content = project.platform.api.call("GET", f"{project.path}/content/v2").text
    assert "sourceMappingURL=index.js.map" in content
    assert 'name="index.js.map"' not in content
    runtime = project.versions()[0]["resources"]["script_runtime"]
    assert runtime["compatibility_flags"] == ["nodejs_compat"]
    assert runtime["compatibility_date"] == "2026-01-01"
