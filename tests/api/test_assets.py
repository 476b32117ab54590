"""The upload session of static assets: what wrangler does, and what must not be possible."""

import base64
import json
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from api.clock import now
from api.settings import settings
from api.versions import service as versions
from api.versions.models import AssetFile, Module
from tests.cast import Tenant, upload_parts

HOME, ABOUT = b"<h1>home</h1>", b"<h1>about</h1>"
FILES = {"/index.html": ("a" * 32, HOME), "/about.html": ("b" * 32, ABOUT)}
Files = dict[str, tuple[str, bytes]]


def manifest(files: Files = FILES) -> dict[str, Any]:
    return {path: {"hash": hash_, "size": len(content)} for path, (hash_, content) in files.items()}


def open_session(tenant: Tenant, name: str = "site", files: Files = FILES) -> Any:
    path = f"workers/scripts/{name}/assets-upload-session"
    return tenant.result("POST", path, json={"manifest": manifest(files)})


def asked(opened: Any) -> list[str]:
    return [hash_ for bucket in opened["buckets"] for hash_ in bucket]


def send(tenant: Tenant, token: str, contents: dict[str, bytes]) -> Any:
    parts = {
        hash_: (hash_, base64.b64encode(content), "text/html")
        for hash_, content in contents.items()
    }
    headers = {"Authorization": f"Bearer {token}"}
    return tenant.call("POST", "workers/assets/upload?base64=true", files=parts, headers=headers)


def uploaded(tenant: Tenant, name: str = "site", files: Files = FILES) -> str:
    """The token of a finished upload."""
    opened = open_session(tenant, name, files)
    if not opened["buckets"]:
        return str(opened["jwt"])
    answer = send(tenant, opened["jwt"], dict(files.values()))
    assert answer.status_code == 201
    return str(answer.json()["result"]["jwt"])


def alone(token: str, **config: Any) -> dict[str, Any]:
    body = {"compatibility_date": "2026-01-01", "assets": {"jwt": token, "config": config}}
    return {"files": {"metadata": (None, json.dumps(body).encode())}}


def stored(session: Session) -> set[str]:
    return set(session.scalars(select(AssetFile.path)))


def test_only_what_is_missing_is_asked_for(alice: Tenant, session: Session) -> None:
    opened = open_session(alice)
    assert sorted(asked(opened)) == ["a" * 32, "b" * 32]
    first = send(alice, opened["jwt"], {"a" * 32: HOME})
    assert (first.status_code, first.json()["result"]) == (200, {"jwt": None})
    assert open_session(alice)["buckets"] == [["b" * 32]]
    last = send(alice, opened["jwt"], {"b" * 32: ABOUT})
    token = last.json()["result"]["jwt"]

    deployed = alice.result("PUT", "workers/scripts/site", **alone(token))
    assert deployed["handlers"] == []
    assert open_session(alice)["buckets"] == []
    assert stored(session) == {"/index.html", "/about.html"}


def test_an_account_gets_nothing_of_another_ones(alice: Tenant, mallory: Tenant) -> None:
    token = uploaded(alice)
    assert len(open_session(mallory)["buckets"]) == 1
    status, code, message = mallory.refusal("PUT", "workers/scripts/site", **alone(token))
    assert (status, code) == (401, 10000)
    assert "not uploaded for this Worker" in message
    assert alice.refusal("PUT", "workers/scripts/other", **alone(token))[:2] == (401, 10000)


@pytest.mark.parametrize("spoil", ["", "x.y.z", "changed", "kind"])
def test_tokens_that_are_none(alice: Tenant, spoil: str) -> None:
    opened = open_session(alice)["jwt"]
    token = {"changed": opened[:-2] + "AA", "kind": uploaded(alice)}.get(spoil, spoil)
    answer = send(alice, token, {"a" * 32: HOME})
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (401, 10000)
    refused = alice.refusal("PUT", "workers/scripts/site", **alone(opened))
    assert refused[:2] == (401, 10000)


def test_files_that_were_not_announced(alice: Tenant) -> None:
    token = open_session(alice)["jwt"]
    for contents in ({"c" * 32: HOME}, {"a" * 32: HOME + b"more"}):
        answer = send(alice, token, contents)
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, 10002)
    headers = {"Authorization": f"Bearer {token}"}
    parts = {"a" * 32: ("a" * 32, b"no base64!", "text/html")}
    path = "workers/assets/upload?base64=true"
    assert alice.call("POST", path, files=parts, headers=headers).status_code == 400
    assert len(asked(open_session(alice))) == 2


@pytest.mark.parametrize(
    "path",
    ["index.html", "/../x", "/a//b", "/a/./b", "/", "", "/x\0y", f"/{'n' * 256}"],
)
def test_paths_that_cannot_be_files(alice: Tenant, path: str) -> None:
    body = {"manifest": {path: {"hash": "a" * 32, "size": 1}}}
    url = "workers/scripts/site/assets-upload-session"
    assert alice.refusal("POST", url, json=body)[:2] == (400, 10021)


def test_a_file_and_a_folder_of_one_name(alice: Tenant) -> None:
    body = {"manifest": manifest({"/a": FILES["/index.html"], "/a/b": FILES["/about.html"]})}
    url = "workers/scripts/site/assets-upload-session"
    assert "/a is a file and a folder" in alice.refusal("POST", url, json=body)[2]


def test_limits(alice: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    url = "workers/scripts/site/assets-upload-session"
    large = {"/film.mp4": {"hash": "a" * 32, "size": settings().asset_size_limit_bytes + 1}}
    status, code, message = alice.refusal("POST", url, json={"manifest": large})
    assert (status, code) == (413, 10027)
    assert "/film.mp4 has 25.0 MiB" in message
    monkeypatch.setattr(settings(), "asset_count_limit", 1)
    assert alice.refusal("POST", url, json={"manifest": manifest()})[:2] == (413, 10027)


@pytest.mark.parametrize(
    "config",
    [
        {"html_handling": "sometimes"},
        {"not_found_handling": 3},
        {"run_worker_first": ["api/*"]},
        {"run_worker_first": "yes"},
        {"_headers": ["X: y"]},
    ],
)
def test_a_configuration_that_means_nothing(alice: Tenant, config: dict[str, Any]) -> None:
    token = uploaded(alice)
    refused = alice.refusal("PUT", "workers/scripts/site", **alone(token, **config))
    assert refused[:2] == (400, 10021)
    assert next(iter(config)) in refused[2]


def test_bindings_and_files_that_do_not_fit(alice: Tenant) -> None:
    binding = {"name": "ASSETS", "type": "assets"}
    said = alice.refusal("PUT", "workers/scripts/site", **upload_parts(bindings=[binding]))
    assert said[:2] == (400, 10021)
    token = uploaded(alice)
    other = {"name": "MORE", "type": "assets"}
    parts = upload_parts(bindings=[binding, other], assets={"jwt": token})
    assert "MORE" in alice.refusal("PUT", "workers/scripts/site", **parts)[2]


def test_what_keeps_the_files(alice: Tenant, session: Session) -> None:
    alice.result("PUT", "workers/scripts/site", **upload_parts(assets={"jwt": uploaded(alice)}))

    def latest() -> Any:
        found = alice.result("GET", "workers/scripts/site/versions")["items"][0]["id"]
        return session.scalar(select(versions.Version.assets).where(versions.Version.id == found))

    first = latest()
    kept = upload_parts(keep_assets=True)
    alice.result("POST", "workers/scripts/site/versions", **kept)
    assert latest() == first
    secret = {"name": "KEY", "text": "x", "type": "secret_text"}
    alice.result(
        "PUT", "workers/scripts/other", **upload_parts(assets={"jwt": uploaded(alice, "other")})
    )
    alice.result("PUT", "workers/scripts/other/secrets", json=secret)
    alice.result("POST", "workers/scripts/site/versions", **upload_parts())
    assert latest() is None


def test_files_nobody_has_any_more_are_pruned(alice: Tenant, session: Session) -> None:
    alice.result("PUT", "workers/scripts/site", **alone(uploaded(alice)))
    old = update(Module).values(uploaded_at=now() - timedelta(days=2))
    session.execute(old)
    assert versions.prune_modules(session) == 0
    alice.result("DELETE", "workers/services/site?force=true")
    session.execute(old)
    assert versions.prune_modules(session) == 3
    assert stored(session) == set()
    session.commit()
    assert len(asked(open_session(alice))) == 2
