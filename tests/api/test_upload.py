"""Uploads: what is stored, and what is refused without storing anything."""

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api.scripts.models import Script
from api.settings import settings
from api.versions import service as versions
from api.versions.models import Module, Version
from tests.cast import Tenant, upload_parts

SCRIPT = "workers/scripts/my-app"


def _count(session: Session, model: type) -> int:
    session.expire_all()
    return session.scalar(select(func.count()).select_from(model)) or 0


def test_an_upload_makes_a_script_a_version_and_a_deployment(alice: Tenant) -> None:
    uploaded = alice.result("PUT", SCRIPT, **upload_parts())
    assert uploaded["id"] == "my-app"
    assert uploaded["handlers"] == ["fetch"]
    versions = alice.result("GET", f"{SCRIPT}/versions")["items"]
    deployments = alice.result("GET", f"{SCRIPT}/deployments")["deployments"]
    assert [version["number"] for version in versions] == [1]
    assert deployments[0]["versions"] == [{"version_id": versions[0]["id"], "percentage": 100.0}]


def test_the_same_bytes_are_stored_once_and_have_one_digest(
    alice: Tenant, session: Session
) -> None:
    alice.result("PUT", SCRIPT, **upload_parts())
    alice.result("PUT", "workers/scripts/other", **upload_parts())
    first, second = (
        alice.result("GET", f"workers/scripts/{name}/versions")["items"][0]
        for name in ("my-app", "other")
    )
    assert first["digest"] == second["digest"]
    assert _count(session, Module) == 1


def test_a_script_that_throws_is_refused_with_the_runtimes_message_and_line(
    alice: Tenant, session: Session
) -> None:
    source = "const a = 1;\nundefinedThing();\nexport default {}"
    status, code, message = alice.refusal("PUT", SCRIPT, **upload_parts(source))
    assert (status, code) == (400, 10021)
    assert "undefinedThing is not defined" in message
    assert "index.js:2" in message
    assert [_count(session, model) for model in (Script, Version, Module)] == [0, 0, 0]


@pytest.mark.parametrize(
    ("metadata", "code", "words"),
    [
        ({"compatibility_date": "2999-01-01"}, 10021, "future"),
        ({"compatibility_date": "yesterday"}, 10021, "YYYY-MM-DD"),
        ({"compatibility_flags": ["no_such_flag"]}, 10021, "no_such_flag"),
        ({"compatibility_flags": "nodejs_compat"}, 10002, "list of strings"),
        ({"main": "gone.js", "main_module": "gone.js"}, 10021, "gone.js"),
        ({"bindings": [{"name": "V", "type": "vectorize"}]}, 10400, "V of type vectorize"),
        ({"bindings": [{"name": "DB", "type": "d1", "id": "x"}]}, 10181, "DB"),
        ({"bindings": [{"name": "A", "type": "plain_text"}]}, 10021, "A needs a `text`"),
        ({"bindings": [{"name": "A", "type": "plain_text", "text": "\0"}]}, 10021, "NUL"),
        ({"bindings": [{"name": "A", "type": "inherit"}]}, 10057, "A is to be inherited"),
        ({"bindings": "none"}, 10021, "list"),
        ({"bindings": [{"name": "A", "type": "plain_text", "text": "x" * 6000}]}, 10021, "6,000"),
        ({"annotations": "no"}, 10002, "annotations"),
        ({"limits": {"cpu_ms": 0}}, 10021, "1 to 300,000 ms"),
        ({"limits": {"cpu_ms": "much"}}, 10021, "whole number"),
    ],
)
def test_bad_metadata_is_refused_and_nothing_stored(
    alice: Tenant, session: Session, metadata: dict[str, object], code: int, words: str
) -> None:
    parts = upload_parts(**{key: value for key, value in metadata.items() if key != "main"})
    status, found, message = alice.refusal("PUT", SCRIPT, **parts)
    assert (status, found) == (400, code), message
    assert words in message
    assert _count(session, Script) == 0


def test_bad_names_are_refused(alice: Tenant) -> None:
    for name in ("Bad", "-a", "a-", "x" * 64, "sp ace", "ü"):
        status, code, _ = alice.refusal("PUT", f"workers/scripts/{name}", **upload_parts())
        assert (status, code) == (400, 10016), name


def test_a_broken_multipart_body_is_refused(alice: Tenant) -> None:
    for body in (
        b"",
        b"--x\r\nnonsense",
        b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--",
    ):
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        status, code, _ = alice.refusal("PUT", SCRIPT, content=body, headers=headers)
        assert (status, code) == (400, 10002), body
    status, code, _ = alice.refusal("PUT", SCRIPT, json={})
    assert (status, code) == (400, 10002)


def test_a_script_over_the_limit_is_refused(alice: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings(), "script_size_limit_bytes", 1000)
    parts = upload_parts("export default {} //" + "x" * 2000)
    status, code, message = alice.refusal("PUT", SCRIPT, **parts)
    assert (status, code) == (413, 10027)
    assert "index.js" in message


def test_a_version_upload_does_not_deploy(alice: Tenant) -> None:
    alice.result("PUT", SCRIPT, **upload_parts())
    before = alice.result("GET", f"{SCRIPT}/deployments")["deployments"]
    version = alice.result("POST", f"{SCRIPT}/versions", **upload_parts("export default {}"))
    assert version["number"] == 2
    assert version["metadata"]["has_preview"] is False
    assert alice.result("GET", f"{SCRIPT}/deployments")["deployments"] == before
    status, code, _ = alice.refusal("POST", "workers/scripts/none/versions", **upload_parts())
    assert (status, code) == (404, 10007)


def test_modules_come_back_as_they_went_in(alice: Tenant) -> None:
    extra = {"data.bin": ("data.bin", b"\0\1\2\r\n--", "application/octet-stream")}
    source = "import data from './data.bin'; export default { fetch: () => new Response(data) }"
    alice.result("PUT", SCRIPT, **upload_parts(source, extra=extra))
    answer = alice.call("GET", f"{SCRIPT}/content/v2")
    assert answer.headers["cf-entrypoint"] == "index.js"
    assert answer.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert source.encode() in answer.content
    assert b"\0\1\2\r\n--" in answer.content


def test_options_without_effect_are_answered_with_a_warning(alice: Tenant) -> None:
    answer = alice.call("PUT", SCRIPT, **upload_parts(placement={"mode": "smart"})).json()
    assert any("no effect" in message["message"] for message in answer["messages"])


def test_a_limit_of_cpu_is_kept_for_the_version_and_told_to_nodes(
    alice: Tenant, session: Session
) -> None:
    answer = alice.call("PUT", SCRIPT, **upload_parts(limits={"cpu_ms": 700, "subrequests": 9}))
    warned = [one["message"] for one in answer.json()["messages"]]
    assert [message for message in warned if "no effect" in message] == [
        "limits of subrequests are stored but have no effect in Skerry yet."
    ]
    (version,) = session.scalars(select(Version))
    assert versions.spec(version)["cpu_ms"] == 700
    alice.result("PUT", SCRIPT, **upload_parts())
    newest = session.scalars(select(Version).order_by(Version.number.desc())).first()
    assert newest is not None
    assert versions.spec(newest)["cpu_ms"] is None
