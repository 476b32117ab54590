"""`python -m edge.check --preview`, as the API runs it."""

import base64
import json
import re
import time

import pytest

from edge.runtime.preview import BODY_BYTES
from tests.edge.bundles import Bundle, Json, answering
from tests.edge.test_check import run

pytestmark = pytest.mark.edge

URL = "https://my-app.dev.localhost:8443/a/b?c=d"


def preview(bundle: Bundle | str, **asked: object) -> Json:
    if isinstance(bundle, str):
        bundle = Bundle(f"export default {{ async fetch(request, env, ctx) {{ {bundle} }} }};")
    body = base64.b64encode(str(asked.pop("body", "")).encode()).decode()
    request = {"method": "GET", "url": URL, "headers": [], **asked, "body": body}
    done = run({**bundle.check_request(), "request": request}, "--preview")
    assert done.returncode == 0, done.stderr
    answer: Json = json.loads(done.stdout)
    return answer


def response_of(answer: Json) -> tuple[int, dict[str, str], str]:
    response = answer["response"]
    assert isinstance(response, dict)
    headers = {name.lower(): value for name, value in response["headers"]}
    return response["status"], headers, base64.b64decode(response["body"]).decode()


def test_the_script_sees_the_request_and_its_answer_comes_back() -> None:
    answer = preview(
        Bundle(
            "export default { async fetch(request, env) { return new Response("
            "[request.method, request.url, request.headers.get('x-a'), request.cf.colo, env.NAME,"
            " await request.text()].join(' '), { status: 201, headers: { 'x-b': 'c' } }) } };",
            bindings=[{"name": "NAME", "type": "secret_text", "text": "s3cret"}],
        ),
        method="POST",
        headers=[{"name": "X-A", "value": "1"}, {"name": "Host", "value": "elsewhere.example"}],
        body="words",
    )
    assert answer["ok"] is True
    status, headers, body = response_of(answer)
    assert (status, body) == (201, f"POST {URL} 1 PREVIEW s3cret words")
    assert headers["x-b"] == "c"
    assert not {name for name in headers if name.startswith("x-skerry")}
    assert (answer["threw"], answer["failure"], answer["logs"]) == (False, "", [])


def test_durable_objects_are_there_and_empty() -> None:
    answer = preview(
        Bundle(
            'import { DurableObject } from "cloudflare:workers";'
            "export class Counter extends DurableObject { async count() {"
            ' this.ctx.storage.sql.exec("CREATE TABLE t (n)"); await this.ctx.storage.put("n", 1);'
            ' return this.ctx.storage.get("n"); } }'
            "export default { async fetch(request, env) {"
            ' return Response.json(await env.COUNTER.getByName("a").count()) } };',
            objects=[{"class_name": "Counter", "namespace_id": "a" * 32, "sqlite": True}],
            bindings=[
                {"name": "COUNTER", "type": "durable_object_namespace", "class_name": "Counter"}
            ],
        )
    )
    assert response_of(answer)[2] == "1"


def test_what_it_logs() -> None:
    answer = preview(
        "console.log('one', { a: 1 }); console.warn('two'); console.error('three\\nlines');"
        "ctx.waitUntil(Promise.resolve().then(() => console.log('afterwards')));"
        "return new Response('')"
    )
    assert answer["logs"] == [
        {"level": "log", "text": "one { a: 1 }"},
        {"level": "warn", "text": "two"},
        {"level": "error", "text": "three\nlines"},
        {"level": "log", "text": "afterwards"},
    ]


def test_a_throw_is_told_in_the_scripts_words() -> None:
    answer = preview("null.x;")
    assert response_of(answer)[0] == 500
    assert answer["threw"] is True
    said = "Uncaught TypeError: Cannot read properties of null (reading 'x')"
    (line,) = answer["logs"]
    assert (line["level"], line["text"].splitlines()[0]) == ("error", said)
    assert re.search(r"at .*fetch \(index\.js:\d+:\d+\)", line["text"])
    own = preview("return new Response('mine', { status: 500 })")
    assert (response_of(own)[2], own["threw"]) == ("mine", False)


def test_a_script_that_does_not_start_is_refused_as_at_an_upload() -> None:
    answer = preview(Bundle(f"{answering('x')}\nfoo();"))
    assert answer == {
        "ok": False,
        "code": 10021,
        "message": "Uncaught ReferenceError: foo is not defined\n  at index.js:2:1",
    }
    flag = preview(Bundle(answering("x"), compatibility_flags=["no_such_flag"]))
    assert flag["message"] == "No such compatibility flag: no_such_flag"


def test_there_is_no_way_out() -> None:
    answer = preview(
        "try { await fetch('http://127.0.0.1:1/') } catch (error) { return new Response(error) }"
    )
    assert "A preview reaches nothing outside" in response_of(answer)[2]


def test_a_long_answer_is_cut_and_a_flood_of_logs_too() -> None:
    answer = preview(
        "for (let i = 0; i < 1e5; i++) console.log('x'.repeat(100));"
        f"return new Response('y'.repeat({3 * BODY_BYTES}))"
    )
    assert isinstance(answer["response"], dict)
    assert answer["response"]["cut"] is True
    assert len(response_of(answer)[2]) == BODY_BYTES
    assert isinstance(answer["logs"], list)
    assert len(answer["logs"]) == 200


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("while (true) {}", "had not answered in full after 8 seconds"),
        (
            "return new Response(new ReadableStream({ async pull(stream) {"
            " await scheduler.wait(50); stream.enqueue(new Uint8Array(1)); } }))",
            "had not answered in full",
        ),
        ("return new Response(new ReadableStream({}))", "ended while it was answering"),
        ("const a = []; for (;;) a.push(new Array(1e5).fill(1.1))", "ran out of memory"),
    ],
)
def test_what_has_no_end_is_ended(code: str, said: str) -> None:
    began = time.monotonic()
    assert said in str(preview(code)["failure"])
    assert time.monotonic() - began < 40


@pytest.mark.parametrize(
    "asked",
    [
        {"method": "GET\r\nX: y"},
        {"url": "https://a/ b"},
        {"headers": [{"name": "a b", "value": ""}]},
        {"headers": [{"name": "a", "value": "b\r\nc: d"}]},
        {"headers": "no"},
    ],
)
def test_what_is_no_request_is_no_verdict(asked: Json) -> None:
    request = {"method": "GET", "url": URL, "headers": [], "body": "", **asked}
    done = run({**Bundle(answering("x")).check_request(), "request": request}, "--preview")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
