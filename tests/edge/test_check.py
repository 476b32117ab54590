"""`python -m edge.check`, as the API runs it."""

import json
import os
import subprocess
import sys
import time

import pytest

from edge.runtime.binary import CHECKOUT
from tests.edge.bundles import Bundle, Json, answering

pytestmark = pytest.mark.edge

OK = answering("ok")


def run(
    request: object, *arguments: str, environ: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edge.check", *arguments],
        input=request if isinstance(request, str) else json.dumps(request),
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
        timeout=60,
        env={**os.environ, **(environ or {})},
    )


def check(bundle: Bundle) -> Json:
    done = run(bundle.check_request())
    assert done.returncode == 0, done.stderr
    answer: Json = json.loads(done.stdout)
    return answer


def refusal(bundle: Bundle) -> str:
    answer = check(bundle)
    assert (answer["ok"], answer["code"]) == (False, 10021)
    return str(answer["message"])


def test_a_good_script() -> None:
    answer = check(Bundle(OK))
    assert answer["ok"] is True
    assert answer["handlers"] == ["fetch"]
    assert answer["compatibility_date"] == "2026-01-01"
    assert answer["warnings"] == []
    assert isinstance(answer["startup_ms"], int)


def test_exported_handlers_of_objects_classes_and_named_entrypoints() -> None:
    source = """
import { WorkerEntrypoint } from "cloudflare:workers";
export class Admin extends WorkerEntrypoint { fetch() {} hello() {} }
export default class extends WorkerEntrypoint { fetch() {} scheduled() {} }
"""
    answer = check(Bundle(source))
    assert answer["handlers"] == ["fetch", "scheduled"]
    assert answer["named_handlers"] == [{"name": "Admin", "handlers": ["fetch"]}]
    app = "class App { fetch = () => {} }\nexport default new App();"
    assert check(Bundle(app))["handlers"] == ["fetch"]
    both = "export default { async fetch() {}, async queue() {}, other() {} }"
    assert check(Bundle(both))["handlers"] == ["fetch", "queue"]


def test_a_throw_names_module_and_line() -> None:
    message = refusal(Bundle(f"{OK}\n\nfoo();"))
    assert message == "Uncaught ReferenceError: foo is not defined\n  at index.js:3:1"
    modules = [("lib/deep.js", "esm", "function fail() {\n  throw new Error('boom');\n}\nfail();")]
    message = refusal(Bundle(f"import './lib/deep.js';\n{OK}", modules=list(modules)))
    assert message.splitlines()[:2] == ["Uncaught Error: boom", "  at lib/deep.js:2:9 in fail"]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("let x = ;", "Uncaught SyntaxError: Unexpected token ';'\n  at index.js:1:8"),
        (
            f"import x from './nope.js'; {OK}",
            'Uncaught Error: No such module "nope.js".\n  imported from "index.js"',
        ),
        (f"await fetch('https://example.com'); {OK}", "Disallowed operation called within global"),
        ("export const x = 1;", "Incorrect type for map entry 'x'"),
        (f"throw {{}};{OK}", "Uncaught Error: #<Object>"),
    ],
)
def test_the_runtimes_own_message(source: str, expected: str) -> None:
    assert expected in refusal(Bundle(source))


def test_flags_are_refused_by_name() -> None:
    assert refusal(Bundle(OK, compatibility_flags=["nodejs_compat", "no_such_flag"])) == (
        "No such compatibility flag: no_such_flag"
    )
    assert refusal(Bundle(OK, compatibility_flags=["service_binding_extra_handlers"])) == (
        "The compatibility flag service_binding_extra_handlers is experimental and cannot be used"
        " on Skerry."
    )
    assert "python_workers" in refusal(Bundle(OK, compatibility_flags=["python_workers"]))
    assert "mutually contradictory" in refusal(
        Bundle(OK, compatibility_flags=["nodejs_compat", "no_nodejs_compat"])
    )


def test_a_redundant_flag_is_a_warning() -> None:
    flag = "formdata_parser_supports_files"
    answer = check(Bundle(OK, compatibility_flags=[flag]))
    assert answer["ok"] is True
    assert f"The compatibility flag {flag} became the default" in str(answer["warnings"])


def test_dates() -> None:
    today = time.strftime("%Y-%m-%d", time.gmtime())
    answer = check(Bundle(OK, compatibility_date="2999-01-01"))
    assert answer["ok"] is True
    assert "2026-11-22" <= str(answer["compatibility_date"]) <= today
    assert refusal(Bundle(OK, compatibility_date="banana")).startswith("Invalid compatibility date")


def test_bundles_that_cannot_become_a_cell() -> None:
    missing = Bundle(main_module="other.js", modules=[("index.js", "esm", OK)])
    assert refusal(missing) == 'The main module "other.js" is not among the uploaded modules.'
    python = Bundle(OK, modules=[("a.py", "python", "x = 1")])
    assert refusal(python).startswith("Python Workers are not supported by Skerry yet")
    broken = Bundle(OK, modules=[("a.txt", "text", b"\xff\xfe")])
    assert refusal(broken) == '"a.txt" is not valid UTF-8 text.'
    unknown = Bundle(OK, bindings=[{"name": "KV", "type": "vectorize", "index_name": "x"}])
    assert 'Binding "KV" has the type "vectorize"' in refusal(unknown)
    upwards = Bundle(f"import '../up.js'; {OK}", modules=[("../up.js", "esm", "1")])
    assert refusal(upwards)


def test_service_worker_syntax() -> None:
    classic = "addEventListener('fetch', (event) => event.respondWith(new Response(TEXT)));"
    bindings: list[Json] = [{"name": "TEXT", "type": "plain_text", "text": "x"}]
    answer = check(Bundle(classic, syntax="service-worker", bindings=bindings))
    assert (answer["ok"], answer["handlers"]) == (True, ["fetch"])
    message = refusal(Bundle(f"{classic}\nfoo();", syntax="service-worker"))
    assert message == "Uncaught ReferenceError: foo is not defined\n  at worker.js:2:1"
    nothing = check(Bundle("1 + 1;", syntax="service-worker"))
    assert (nothing["ok"], nothing["code"]) == (False, 10068)


def test_a_main_module_in_a_folder_and_relative_imports() -> None:
    source = """
import text from "./words.txt"; import "../lib/side.mjs"; import old from "../lib/old.cjs";
if (text + old.word !== "hello world") throw new Error(text + old.word);
export default { fetch() {} };
"""
    bundle = Bundle(
        source,
        main_module="src/index.js",
        modules=[
            ("src/words.txt", "text", "hello "),
            ("lib/side.mjs", "esm", "globalThis.side = 1;"),
            ("lib/old.cjs", "cjs", "module.exports = { word: 'world' };"),
        ],
    )
    assert check(bundle)["handlers"] == ["fetch"]


def test_an_endless_loop_is_stopped() -> None:
    began = time.monotonic()
    request = Bundle("while (true) {}").check_request()
    done = run(request, environ={"SKERRY_CHECK_SECONDS": "1.5"})
    assert json.loads(done.stdout) == {
        "ok": False,
        "code": 10021,
        "message": "Script startup exceeded time limit",
    }
    assert time.monotonic() - began < 10


def test_what_the_runtime_knows() -> None:
    done = run("", "--runtime")
    knows = json.loads(done.stdout)
    assert set(knows) == {"version", "newest_compatibility_date", "compatibility_flags"}
    assert knows["version"] == "2026-11-17"
    assert knows["newest_compatibility_date"] == "2026-11-24"
    assert {"nodejs_compat", "no_nodejs_compat", "global_navigator"} <= set(
        knows["compatibility_flags"]
    )
    assert not {"experimental", "python_workers"} & set(knows["compatibility_flags"])


@pytest.mark.parametrize("request_text", ["", "[]", "{}", '{"spec": {}}', "not json"])
def test_its_own_failures_are_no_verdict(request_text: str) -> None:
    done = run(request_text)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr
    assert "Traceback" not in done.stderr
