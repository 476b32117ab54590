"""Bodies as clients send them and as nobody should: read when they can be, refused when they cannot.

A refusal is a 4xx in the envelope, and nothing is stored.
"""

import json
from typing import Any

import pytest

from tests.cast import upload_parts
from tests.certificates import issue
from tests.contract.conftest import LAMBDA_TARGET, SCRIPT, World

# See test_openapi.py.
pytestmark = pytest.mark.xdist_group("contract")

SCRIPT_PATH = f"workers/scripts/{SCRIPT}"
UPLOADS = [
    ("PUT", SCRIPT_PATH),
    ("POST", f"{SCRIPT_PATH}/versions"),
    ("POST", f"{SCRIPT_PATH}/preview"),
]
# Every operation that takes JSON, with a body that it accepts.
JSON_BODIES: dict[tuple[str, str], Any] = {
    ("PUT", "workers/subdomain"): {"subdomain": "elsewhere"},
    ("POST", "tokens"): {"name": "laptop"},
    ("POST", "storage/kv/namespaces"): {"title": "another"},
    ("POST", "r2/buckets"): {"name": "another"},
    ("POST", "skerry/access_keys"): {"name": "laptop"},
    ("POST", "queues"): {"queue_name": "another"},
    ("PATCH", "queues/{queue_id}"): {"settings": {"delivery_paused": True}},
    ("PUT", "queues/{queue_id}"): {"settings": {"delivery_delay": 5}},
    ("POST", "queues/{queue}/consumers"): {"type": "http_pull"},
    ("PUT", "queues/{queue_id}/consumers/{consumer_id}"): {"type": "http_pull"},
    ("POST", "skerry/alerts/rules"): {"name": "slow", "kind": "p95", "threshold": 200},
    ("PUT", "skerry/alerts/rules/{rule_id}/mute"): {"until": None},
    ("POST", "skerry/alerts/destinations"): {
        "name": "pager",
        "kind": "webhook",
        "address": "https://example.org/hook",
    },
    ("POST", "skerry/targets"): {**LAMBDA_TARGET, "name": "another"},
    ("PUT", "storage/kv/namespaces/{namespace_id}"): {"title": "renamed"},
    ("POST", "d1/database"): {"name": "another"},
    ("PUT", "workflows/{workflow_name}"): {
        "script_name": "my-app",
        "class_name": "Another",
    },
    ("POST", f"{SCRIPT_PATH}/subdomain"): {"enabled": True},
    ("PATCH", f"{SCRIPT_PATH}/script-settings"): {"logpush": False},
    ("POST", f"{SCRIPT_PATH}/deployments"): {
        "versions": [{"version_id": "{version_id}", "percentage": 100}]
    },
    ("POST", f"{SCRIPT_PATH}/assets-upload-session"): {
        "manifest": {"/a.txt": {"hash": "a" * 32, "size": 1}}
    },
    ("PUT", f"{SCRIPT_PATH}/schedules"): [{"cron": "0 0 1 1 *"}],
    ("POST", f"{SCRIPT_PATH}/schedules/runs"): {"cron": "0 0 1 1 *"},
    ("POST", f"{SCRIPT_PATH}/tails"): {"filters": [{"sampling_rate": 0.5}]},
    ("POST", "workers/observability/telemetry/query"): {
        "queryId": "q",
        "timeframe": {"from": 0, "to": 1},
    },
    ("POST", "workers/observability/telemetry/keys"): {},
    ("POST", "workers/observability/telemetry/values"): {
        "key": "a",
        "type": "string",
        "timeframe": {"from": 0, "to": 1},
        "datasets": [],
    },
    ("POST", "/zones"): {"name": "example.org"},
    ("POST", "/zones/{zone_id}/workers/routes"): {"pattern": "example.com/a", "script": SCRIPT},
    ("PUT", "/zones/{zone_id}/workers/routes/{route_id}"): {
        "pattern": "example.com/a",
        "script": SCRIPT,
    },
    ("POST", "/zones/{zone_id}/custom_certificates"): issue("www.example.com").body,
    ("PATCH", "/zones/{zone_id}/custom_certificates/{certificate_id}"): issue("example.com").body,
    ("PUT", f"{SCRIPT_PATH}/routes"): [{"pattern": "example.com/a"}],
    ("PUT", "workers/domains"): {"hostname": "www.example.com", "service": SCRIPT},
    ("POST", f"{SCRIPT_PATH}/domains/changeset"): [{"hostname": "www.example.com"}],
    ("PUT", f"{SCRIPT_PATH}/domains/records"): {"origins": [{"hostname": "www.example.com"}]},
    ("PUT", f"{SCRIPT_PATH}/secrets"): {"name": "A", "text": "1"},
    ("PATCH", f"{SCRIPT_PATH}/secrets-bulk"): {"secrets": {"A": {"text": "1"}}},
    ("PATCH", f"workers/workers/{SCRIPT}/versions/latest"): {"env": {"A": {"text": "1"}}},
}
each_json_operation = pytest.mark.parametrize("operation", JSON_BODIES, ids="-".join)
each_upload = pytest.mark.parametrize("operation", UPLOADS, ids=["script", "version", "preview"])


def _accepted(world: World, operation: tuple[str, str]) -> str:
    text = json.dumps(JSON_BODIES[operation])
    return text.replace("{version_id}", world.real["version_id"])


def _refused(world: World, operation: tuple[str, str], **arguments: Any) -> tuple[int, int]:
    """Status and code of a refusal; asserts that nothing was stored."""
    before = world.stored()
    method, path = operation
    status, code, message = world.owner.refusal(method, world.path(path), **arguments)
    assert 400 <= status < 500, message
    assert message
    assert world.stored() == before
    return status, code


def test_the_list_of_json_operations_is_whole(world: World) -> None:
    paths = world.app.openapi()["paths"]
    taking_json = {
        (
            method.upper(),
            world.path(path)
            .removeprefix(f"/client/v4/accounts/{world.owner.id}/")
            .removeprefix("/client/v4"),
        )
        for path, methods in paths.items()
        for method, operation in methods.items()
        # Those need a node; tests/wrangler sends their bodies.
        if not any(tag.endswith(" data") for tag in operation.get("tags", []))
        if "application/json" in operation.get("requestBody", {}).get("content", {})
    }
    assert {(method, world.path(path)) for method, path in JSON_BODIES} == taking_json


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain;charset=UTF-8",
        "application/merge-patch+json",
        "application/x-www-form-urlencoded",
        None,
    ],
)
@each_json_operation
def test_json_under_any_name(
    world: World, operation: tuple[str, str], content_type: str | None
) -> None:
    """cloudflare-api.md, rule 1. curl says it sends a form, and some clients say nothing."""
    headers = {"Content-Type": content_type} if content_type else {}
    body = _accepted(world, operation).encode()
    method, path = operation
    world.owner.result(method, world.path(path), content=body, headers=headers)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"5",
        b'"text"',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"enabled": ' + b"9" * 5_000 + b"}",
    ],
    ids=["none", "half", "list", "null", "number", "text", "not-utf-8", "deep", "long-number"],
)
@each_json_operation
def test_json_that_is_none(world: World, operation: tuple[str, str], body: bytes) -> None:
    if body == b"[]" and isinstance(JSON_BODIES[operation], list):
        body = b"{}"  # no schedules at all is something that can be wanted
    assert _refused(world, operation, content=body)[1] == 10004


@pytest.mark.parametrize("bad", ["\\u0000", "\\ud800"], ids=["nul", "half-a-surrogate-pair"])
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "workers/subdomain", '{"subdomain": "a!"}'),
        ("POST", "tokens", '{"name": "a!"}'),
        ("POST", "storage/kv/namespaces", '{"title": "a!"}'),
        ("PATCH", "script-settings", '{"tags": ["a!"]}'),
        ("PATCH", "script-settings", '{"other": {"!": 1}}'),
        ("POST", "deployments", '{"versions": [{"version_id": "!", "percentage": 100}]}'),
        (
            "POST",
            "deployments",
            '{"versions": [{"version_id": "{version_id}", "percentage": 100}],'
            ' "annotations": {"workers/message": "!"}}',
        ),
        ("POST", "/zones", '{"name": "a!.example"}'),
        ("POST", "/zones", '{"name": "a.example", "account": {"id": "!"}}'),
        (
            "POST",
            "/zones/{zone_id}/custom_certificates",
            '{"certificate": "!", "private_key": "a"}',
        ),
        (
            "PATCH",
            "/zones/{zone_id}/custom_certificates/{certificate_id}",
            '{"private_key": "!"}',
        ),
        ("PUT", "routes", '[{"pattern": "example.com/!"}]'),
        ("PUT", "routes", '[{"pattern": "example.com/", "zone_id": "!"}]'),
        ("PUT", "routes", '[{"pattern": "example.com/", "zone_name": "!"}]'),
        ("PUT", "workers/domains", '{"hostname": "www.example.com", "service": "!"}'),
        ("PUT", "secrets", '{"name": "A!", "text": "1"}'),
        ("PUT", "secrets", '{"name": "A", "text": "1!"}'),
        ("PATCH", "secrets-bulk", '{"secrets": {"A!": {"text": "1"}}}'),
        ("PATCH", "secrets-bulk", '{"secrets": {"A!": null}}'),
        (
            "PATCH",
            f"workers/workers/{SCRIPT}/versions/latest",
            '{"env": {"A": {"text": "1"}}, "annotations": {"workers/tag": "!"}}',
        ),
    ],
)
def test_text_that_cannot_be_stored(
    world: World, method: str, path: str, body: str, bad: str
) -> None:
    full = (
        path
        if path.startswith(("/", "workers/", "tokens", "storage/"))
        else f"{SCRIPT_PATH}/{path}"
    )
    content = body.replace("!", bad).replace("{version_id}", world.real["version_id"])
    _refused(world, (method, world.path(full)), content=content.encode())


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        (
            "instances/first/events/paid",
            {"content": b"null", "headers": {"Content-Type": "multipart/form-data"}},
        ),
        ("instances/first/events/paid", {"content": b'{"total": NaN}'}),
        ("instances", {"content": b'{"params": {"total": NaN}}'}),
    ],
    ids=["form", "nan", "nan-parameter"],
)
def test_what_a_workflow_is_given_is_json(world: World, path: str, sent: dict[str, Any]) -> None:
    assert _refused(world, ("POST", f"workflows/orders/{path}"), **sent) == (422, 10004)


def test_nul_in_every_path_parameter(world: World) -> None:
    for method, template in world.operations():
        if "/tails/by-consumer/" in template:
            continue  # an empty list, whatever the name
        for name in set(world.real) - {"account_id"}:
            if f"{{{name}}}" in template:
                path = template.format(**{**world.real, name: "%00"}).removeprefix("/client/v4")
                _refused(world, (method, path), **_smallest_body(method, template))


def _smallest_body(method: str, template: str) -> dict[str, Any]:
    if method == "GET" or method == "DELETE":
        return {}
    if template.endswith("/settings"):
        return {"files": {"settings": (None, '{"bindings": []}')}}
    if template.endswith(("/versions", "/{name}")):
        return upload_parts()
    return {"content": b"{}"}


# --- multipart --------------------------------------------------------------------------------


def _form(*parts: str, end: str = "--x--\r\n") -> bytes:
    return "".join(f"--x\r\n{part}\r\n" for part in parts).encode() + end.encode()


METADATA = 'Content-Disposition: form-data; name="metadata"\r\n\r\n{"main_module": "index.js"}'
INDEX = (
    'Content-Disposition: form-data; name="index.js"; filename="index.js"\r\n'
    "Content-Type: application/javascript+module\r\n\r\nexport default {}"
)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data; boundary=x", b""),
        ("multipart/form-data; boundary=x", b"no form at all"),
        ("multipart/form-data; boundary=x", _form(METADATA, INDEX)[:-40]),
        ("multipart/form-data; boundary=y", _form(METADATA, INDEX)),
        ("multipart/form-data", _form(METADATA, INDEX)),
        ("multipart/form-data; boundary=x", _form(INDEX)),
        ("multipart/form-data; boundary=x", _form(METADATA, METADATA)),
        ("multipart/form-data; boundary=x", _form(METADATA, INDEX, INDEX)),
        ("multipart/form-data; boundary=x", _form(METADATA, INDEX.replace("javascript", "x"))),
        ("multipart/form-data; boundary=x", _form(METADATA, INDEX.replace('name="index.js"; ', ""))),
        ("multipart/form-data; boundary=x", _form("no headers", METADATA, INDEX)),
        ("application/json", b'{"main_module": "index.js"}'),
    ],
    ids=[
        "empty", "no-form", "cut-off", "other-boundary", "no-boundary", "no-metadata",
        "no-module", "module-twice", "unknown-type", "no-name", "no-headers", "json",
    ],
)  # fmt: skip
@each_upload
def test_broken_multipart(
    world: World, operation: tuple[str, str], content_type: str, body: bytes
) -> None:
    headers = {"Content-Type": content_type}
    status, code = _refused(world, operation, content=body, headers=headers)
    assert (status, code) in {(400, 10002), (400, 10021)}


@pytest.mark.parametrize(
    "metadata",
    [
        "",
        "{",
        "[]",
        "null",
        '{"main_module": 5}',
        '{"main_module": NaN}',
        '{"main_module": "\\ud800"}',
        "[" * 100_000,
    ],
    ids=["none", "half", "list", "null", "number", "nan", "half-a-surrogate-pair", "deep"],
)
def test_broken_metadata(world: World, metadata: str) -> None:
    files = {**upload_parts()["files"], "metadata": (None, metadata.encode())}
    assert _refused(world, UPLOADS[0], files=files) == (400, 10002)


@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        ({"limits": "none"}, 10002),
        ({"limits": [50]}, 10002),
        ({"tail_consumers": {"service": "x"}}, 10002),
        ({"observability": True}, 10002),
        ({"observability": {"a": "\0"}}, 10004),
        ({"compatibility_date": 20260101}, 10021),
        ({"compatibility_date": "20260101"}, 10021),
        ({"compatibility_date": "2026-W01-1"}, 10021),
        ({"compatibility_flags": ["\0"]}, 10021),
        ({"bindings": [{"name": "A", "type": "inherit", "old_name": ["A"]}]}, 10021),
        ({"bindings": [{"name": "A", "type": ["plain_text"]}]}, 10021),
        ({"bindings": [{"name": "\x00", "type": "plain_text", "text": "x"}]}, 10021),
    ],
    ids=str,
)
def test_metadata_of_another_shape(world: World, metadata: dict[str, Any], code: int) -> None:
    assert _refused(world, UPLOADS[0], **upload_parts(**metadata))[1] == code


def test_what_a_binding_carries_beyond_its_kind_is_not_kept(world: World) -> None:
    bindings = [
        {"name": "A", "type": "plain_text", "text": "x", "digest": "\0"},
        {"name": "V", "type": "version_metadata", "id": 5},
    ]
    world.owner.result(*UPLOADS[0], **upload_parts(bindings=bindings))
    kept = world.owner.result("GET", f"{SCRIPT_PATH}/settings")["bindings"]
    assert kept[:2] == [
        {"name": "A", "type": "plain_text", "text": "x"},
        {"name": "V", "type": "version_metadata"},
    ]


@pytest.mark.parametrize(
    "settings", ["", "[]", '{"bindings": 5}', '{"bindings": [{"name": "A"}]}', "[" * 100_000]
)
def test_broken_settings(world: World, settings: str) -> None:
    files = {"settings": (None, settings.encode())}
    assert _refused(world, ("PATCH", f"{SCRIPT_PATH}/settings"), files=files) == (400, 10002)


# --- requests that no path or method takes ----------------------------------------------------


def test_a_path_of_cloudflares_that_is_not_there_says_so(world: World) -> None:
    for path, words in [
        ("r2/buckets/x/sippy", "This part of R2 is"),
        ("queues/x/other", "This part of Queues is"),
        ("anything/else", "This part of Cloudflare's API is"),
    ]:
        status, code, message = world.owner.refusal("POST", path)
        assert (status, code) == (400, 10400)
        assert f"{words} not supported by Skerry yet" in message


def test_a_slash_too_many_is_no_other_path(world: World) -> None:
    """wrangler appends to its base URL, and a slash at the end of that makes two (rule 11)."""
    answer = world.owner.client.get(
        "/client/v4//user", headers={"Authorization": f"Bearer {world.owner.token}"}
    )
    assert 400 <= answer.status_code < 500
    assert answer.json()["success"] is False
