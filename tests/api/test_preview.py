"""Running an upload once without storing it."""

from typing import Any

import pytest
from sqlalchemy import Connection, text

from tests.cast import Tenant, upload_parts

SCRIPT = "workers/scripts/my-app"
ECHO = (
    "export default { async fetch(request, env) { console.log('asked', request.method);"
    " return new Response([request.url, env.KEY, env.VAR, await request.text(),"
    " request.headers.get('x-a')].join(' ')) } }"
)


def _preview(tenant: Tenant, source: str = ECHO, **metadata: Any) -> Any:
    return tenant.result("POST", f"{SCRIPT}/preview", **upload_parts(source, **metadata))


def test_an_upload_answers_once_and_nothing_is_stored(
    alice: Tenant, connection: Connection
) -> None:
    alice.result("PUT", SCRIPT, **upload_parts())
    secret = {"name": "KEY", "text": "s3cret", "type": "secret_text"}
    alice.result("PUT", f"{SCRIPT}/secrets", json=secret)
    count = text("SELECT count(*) FROM versions UNION ALL SELECT count(*) FROM modules")
    before = connection.execute(count).all()

    variable = {"name": "VAR", "type": "plain_text", "text": "here"}
    request = {"method": "POST", "path": "/a b?c=é#d", "headers": {"X-A": "1"}, "body": "words"}
    shown = _preview(alice, bindings=[variable], request=request)

    url = "http://my-app.alice.localhost:8080/a%20b?c=%C3%A9"
    assert (shown["status"], shown["body"]) == (200, f"{url} s3cret here words 1")
    assert shown["logs"] == [{"level": "log", "text": "asked POST"}]
    assert {"name": "Content-Type", "value": "text/plain;charset=UTF-8"} in shown["headers"]
    assert (shown["truncated"], shown["threw"], shown["failure"]) == (False, False, "")
    assert connection.execute(count).all() == before


def test_without_a_request_the_first_page_is_asked(alice: Tenant) -> None:
    alice.result("PUT", SCRIPT, **upload_parts())
    assert _preview(alice)["body"].startswith("http://my-app.alice.localhost:8080/ ")


def test_what_is_not_text_is_counted(alice: Tenant) -> None:
    alice.result("PUT", SCRIPT, **upload_parts())
    binary = "export default { fetch: () => new Response(new Uint8Array([255, 0, 1])) }"
    shown = _preview(alice, binary)
    assert (shown["body"], shown["size_bytes"]) == (None, 3)


def test_what_does_not_start_is_refused_with_the_runtimes_words(alice: Tenant) -> None:
    alice.result("PUT", SCRIPT, **upload_parts())
    refusal = alice.refusal("POST", f"{SCRIPT}/preview", **upload_parts("let x = ;"))
    message = "Uncaught SyntaxError: Unexpected token ';'\n  at index.js:1:8"
    assert refusal == (400, 10021, message)


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ([1], "`request` must be an object"),
        ({"method": "TRACE"}, "The method must be one of GET"),
        ({"method": 1}, "must be text"),
        ({"path": "a"}, "must begin with a slash"),
        ({"headers": [1]}, "`headers` of the request must be an object"),
        ({"headers": {"a b": ""}}, "cannot be sent as a header"),
        ({"headers": {"a": "b\r\nc: d"}}, "cannot be sent as a header"),
        ({"headers": {f"a{number}": "" for number in range(51)}}, "at most 50 headers"),
        ({"body": "x" * (1024 * 1024 + 1)}, "at most 1 MiB"),
    ],
)
def test_a_request_that_cannot_be_sent_is_refused(alice: Tenant, request_: Any, said: str) -> None:
    alice.result("PUT", SCRIPT, **upload_parts())
    arguments = upload_parts(request=request_)
    status, code, message = alice.refusal("POST", f"{SCRIPT}/preview", **arguments)
    assert (status, code) == (400, 10002)
    assert said in message


def test_only_ones_own_scripts_are_previewed(alice: Tenant, mallory: Tenant) -> None:
    alice.result("PUT", SCRIPT, **upload_parts())
    path, parts = f"{SCRIPT}/preview", upload_parts()
    assert mallory.refusal("POST", path, **parts)[:2] == (404, 10007)
    strangers = f"/accounts/{alice.id}/{path}"
    assert mallory.refusal("POST", strangers, **parts)[:2] == (403, 10000)
