"""The code editor without JavaScript: what its form sends is previewed, compared and saved."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from api.accounts.actor import Actor
from api.accounts.models import Account
from api.deployments import flows, revisions
from api.scripts import service as scripts
from api.versions import service as versions
from api.versions.bundle import Upload, UploadedModule
from dashboard.editing import Complaint, File, complaint_of

PATH = "/workers/shop/edit"
WASM = bytes([0, 97, 115, 109, 1, 0, 0, 0])
MAIN = (
    "import words from './words.txt';\r\nexport default { fetch() { return new Response(words) } };"
)


@pytest.fixture
def shop(account: Account, ada: TestClient) -> str:
    """A Worker of three modules; gives its version's id."""
    upload = Upload(
        main_module="index.js",
        modules=[
            UploadedModule("words.txt", "text", b"\r\nhi"),
            UploadedModule("index.js", "esm", MAIN.encode()),
            UploadedModule("nothing.wasm", "wasm", WASM),
        ],
        bindings=[{"name": "KEY", "type": "secret_text", "text": "s3cret"}],
        compatibility_date="2026-01-01",
    )
    actor = Actor(account.id, "up@dev.token", "0" * 32, "wrangler")
    done = flows.upload_and_deploy(account.id, "shop", upload, by=actor, subdomain=True)
    return done.version.id


def _form(page: str) -> dict[str, str]:
    """The editor's form as a browser without JavaScript sends it."""
    page = re.sub(r"<template.*?</template>", "", page, flags=re.S)
    fields = dict(re.findall(r'<input[^>]* name="([\w-]+)" value="([^"]*)"', page))
    areas = re.findall(r'<textarea[^>]* name="([\w-]+)"[^>]*>\n(.*?)</textarea>', page, re.S)
    unescaped = {name: _plain(text).replace("\r\n", "\n") for name, text in areas}
    mailed = {name: text.replace("\n", "\r\n") for name, text in unescaped.items()}
    return {**fields, **mailed, "method": "GET"}


def _plain(text: str) -> str:
    return (
        text.replace("&#39;", "'")
        .replace("&gt;", ">")
        .replace("&lt;", "<")
        .replace("&#34;", '"')
        .replace("&amp;", "&")
    )


def _modules(session: Session, account: Account) -> dict[str, tuple[str, bytes]]:
    session.expire_all()
    script = scripts.get(session, account, "shop")
    latest = versions.latest(session, script)
    assert latest
    upload = versions.as_upload(session, latest)
    return {module.name: (module.type, module.content) for module in upload.modules}


def _numbers(session: Session, account: Account) -> tuple[int, int]:
    """Of the newest version and of the one that runs."""
    session.expire_all()
    script = scripts.get(session, account, "shop")
    return script.version_number, revisions.running(session, script).number


def test_files_are_shown_and_bytes_are_not(ada: TestClient, shop: str) -> None:
    page = ada.get(PATH).text
    form = _form(page)
    assert (form["name-0"], form["main"], form["name-1"]) == ("index.js", "0", "words.txt")
    assert form["content-0"].startswith("import words")
    assert "WebAssembly, 8 B" in page
    assert "content-2" not in form
    assert "s3cret" not in page


def test_what_was_not_touched_stays_byte_for_byte(
    ada: TestClient, shop: str, session: Session, account: Account
) -> None:
    before = _modules(session, account)
    answer = ada.post(PATH, data={**_form(ada.get(PATH).text), "intent": "version"})
    assert answer.status_code == 303
    assert re.fullmatch(r"/workers/shop/versions/[\w-]+", answer.headers["location"])
    assert _modules(session, account) == before
    assert _numbers(session, account) == (2, 1)


def test_edited_added_renamed_and_deleted_files_are_deployed(
    ada: TestClient, shop: str, session: Session, account: Account
) -> None:
    form = _form(ada.get(PATH).text)
    code = "import a from './lib/a.js';\r\nexport default { fetch: () => new Response(a) };"
    form |= {"content-0": code, "name-1": "greeting.md", "remove-2": "on", "intent": "deploy"}
    form |= {"name-3": " lib/a.js ", "content-3": "export default 'a';"}
    answer = ada.post(PATH, data=form)
    assert (answer.status_code, answer.headers["location"]) == (303, "/workers/shop")
    assert _modules(session, account) == {
        "index.js": ("esm", code.replace("\r\n", "\n").encode()),
        "greeting.md": ("text", b"\r\nhi"),
        "lib/a.js": ("esm", b"export default 'a';"),
    }
    assert _numbers(session, account) == (2, 2)
    script = scripts.get(session, account, "shop")
    kept = [binding.revealed() for binding in revisions.running(session, script).bindings]
    assert kept == [{"name": "KEY", "type": "secret_text", "text": "s3cret"}]
    assert "Version 2 is saved and goes to every node now." in ada.get("/workers/shop").text


def test_bytes_are_replaced_by_an_upload(
    ada: TestClient, shop: str, session: Session, account: Account
) -> None:
    form = {**_form(ada.get(PATH).text), "intent": "version"}
    longer = WASM + bytes([0, 2, 1, 97])
    files = {"file-2": ("new.wasm", longer, "application/wasm")}
    assert ada.post(PATH, data=form, files=files).status_code == 303
    assert _modules(session, account)["nothing.wasm"] == ("wasm", longer)
    broken = {**form, "content-0": "x = ;", "newest_seen": "2"}
    refused = ada.post(PATH, data=broken, files=files).text
    assert "Choose the file again" in refused


def test_a_refused_save_keeps_the_text_and_names_the_line(
    ada: TestClient, shop: str, session: Session, account: Account
) -> None:
    form = {**_form(ada.get(PATH).text), "content-0": "let a;\r\nlet x = ;", "intent": "deploy"}
    refused = ada.post(PATH, data=form)
    assert refused.status_code == 422
    assert 'data-file="index.js" data-line="2" data-column="8"' in refused.text
    assert _form(refused.text)["content-0"] == "let a;\r\nlet x = ;"
    assert _numbers(session, account) == (1, 1)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name-1": ""}, "Each file needs a name"),
        ({"name-1": "index.js"}, "Two parts are called index.js"),
        ({"main": "1x"}, "No such module"),
        ({"base": "not-an-id"}, "shop has no version not-an-id"),
    ],
)
def test_files_that_will_not_do_are_explained(
    ada: TestClient, shop: str, changes: dict[str, str], said: str
) -> None:
    form = {**_form(ada.get(PATH).text), "intent": "version", **changes}
    refused = ada.post(PATH, data=form)
    assert 400 <= refused.status_code < 500
    assert said in _plain(refused.text)


def test_the_second_of_two_people_is_told_and_keeps_the_text(
    ada: TestClient, shop: str, session: Session, account: Account
) -> None:
    first = _form(ada.get(PATH).text)
    second = dict(first)
    first |= {"content-1": "first", "intent": "deploy"}
    second |= {"content-1": "second", "intent": "deploy"}
    assert ada.post(PATH, data=first).status_code == 303
    refused = ada.post(PATH, data=second)
    assert refused.status_code == 422
    assert "There is a newer version of shop by now: 2. Nothing was saved." in refused.text
    assert _modules(session, account)["words.txt"][1] == b"first"
    again = _form(refused.text)
    assert again["content-1"] == "second"
    assert ada.post(PATH, data={**again, "intent": "deploy"}).status_code == 303
    assert _modules(session, account)["words.txt"][1] == b"second"
    assert _numbers(session, account) == (3, 3)


def test_unsaved_code_is_previewed_with_the_secrets(
    ada: TestClient, shop: str, session: Session, account: Account
) -> None:
    code = (
        "export default { async fetch(request, env) { console.log('<b>');"
        " return Response.json([request.url, request.headers.get('x-a'), env.KEY,"
        " await request.text()], { status: 418 }) } };"
    )
    form = {**_form(ada.get(PATH).text), "content-0": code, "method": "POST", "path": "/a?b"}
    form |= {"headers": "X-A: 1:2\r\n\r\n", "body": "two\r\nlines"}
    shown = _plain(ada.post(f"{PATH}/preview", data=form, headers={"HX-Request": "true"}).text)
    assert '["http://shop.' in shown
    assert '/a?b","1:2","s3cret","two\\nlines"]' in shown
    assert "418" in shown
    assert "<code><b></code>" in shown
    assert "<form" not in shown
    assert _numbers(session, account) == (1, 1)
    page = ada.post(f"{PATH}/preview", data=form).text
    assert _form(page)["content-0"] == code


def test_a_wasm_file_is_added(
    ada: TestClient, shop: str, session: Session, account: Account
) -> None:
    del shop
    code = (
        "import nothing from './added.wasm';\n"
        "export default { fetch() { return new Response(String(nothing instanceof WebAssembly.Module)) } };"
    )
    form = {**_form(ada.get(PATH).text), "content-0": code, "name-9": "", "digest-9": ""}
    chosen = {"file-9": ("added.wasm", WASM, "application/wasm")}
    page = ada.post(f"{PATH}/preview", data=form, files=chosen, headers={"HX-Request": "true"})
    assert ">true</code>" in page.text
    ada.post(PATH, data={**form, "intent": "version"}, files=chosen)
    script = scripts.get(session, account, "shop")
    saved = versions.latest(session, script)
    assert saved is not None
    assert ("added.wasm", "wasm") in [(one.name, one.type) for one in saved.modules]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("export default { fetch: () => new Response(new Uint8Array(3)) }", "3 bytes of no type"),
        ("export default { fetch() { null.x } }", "The Worker threw instead of answering."),
        ("export default {\n  fetch() { null.x } };", 'data-file="index.js" data-line="2"'),
        ("export default { fetch() { for (;;); } }", "had not answered in full"),
        ("export default {};\nfoo();", 'data-file="index.js" data-line="2" data-column="1"'),
    ],
)
def test_a_preview_says_what_happened(ada: TestClient, shop: str, code: str, said: str) -> None:
    form = {**_form(ada.get(PATH).text), "content-0": code}
    answer = ada.post(f"{PATH}/preview", data=form, headers={"HX-Request": "true"})
    assert answer.status_code == 200
    assert said in answer.text


@pytest.mark.parametrize(
    ("field", "typed", "said"),
    [
        ("path", "hello", "The path must begin with a slash."),
        ("headers", "a b: c", "cannot be sent as a header"),
        ("method", "TRACE", "The method must be one of"),
    ],
)
def test_a_request_that_cannot_be_sent_is_explained(
    ada: TestClient, shop: str, field: str, typed: str, said: str
) -> None:
    form = {**_form(ada.get(PATH).text), field: typed}
    answer = ada.post(f"{PATH}/preview", data=form, headers={"HX-Request": "true"})
    assert said in answer.text


def test_the_difference_to_what_runs(ada: TestClient, shop: str) -> None:
    form = {**_form(ada.get(PATH).text), "content-1": "\r\n\r\nho", "remove-2": "on"}
    form |= {"name-3": "new.txt", "content-3": "<i>"}
    page = ada.post(f"{PATH}/changes", data=form).text
    assert '<span class="changes__gone">-hi\n</span>' in page
    assert '<span class="changes__add">+ho\n</span>' in page
    assert '<span class="changes__add">+&lt;i&gt;\n</span>' in page
    assert "deleted, 8 bytes" in page
    assert '<h3 class="changes__file"><code>index.js</code>' not in page
    untouched = ada.post(f"{PATH}/changes", data=_form(ada.get(PATH).text)).text
    assert "Nothing differs." in untouched


def test_an_older_version_can_be_opened(
    ada: TestClient, shop: str, deploy: Callable[..., str]
) -> None:
    deploy("shop", "two")
    assert "Version 2, which runs now." in ada.get(PATH).text
    page = ada.get(f"{PATH}?version={shop}").text
    assert "Version 1, which is not what runs now." in page
    assert "Edit version 2 instead." in page


def test_a_stranger_and_a_module_of_another_are_kept_out(
    ada: TestClient, shop: str, visitor: TestClient, session: Session, account: Account
) -> None:
    form = _form(ada.get(PATH).text)
    other = "sha256:" + "0" * 64
    form |= {"name-3": "stolen.wasm", "digest-3": other, "intent": "version"}
    refused = ada.post(PATH, data=form)
    assert refused.status_code in (303, 422)
    stolen = _modules(session, account).get("stolen.wasm", ("", b""))
    assert stolen[1] == b""
    ada.cookies.clear()
    assert ada.get(PATH).headers["location"] == "/login?next=/workers/shop/edit"


def _files(**texts: str) -> list[File]:
    return [
        File(name.replace("_", "."), "esm", text.encode(), main=name == "index_js")
        for name, text in texts.items()
    ]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Uncaught Error: boom\n  at lib.js:2:9 in fail\n  at index.js:1:1", ("lib.js", 2, 9)),
        ("Uncaught Error: x\n  at node:internal:1:1\n  at index.js:3:4", ("index.js", 3, 4)),
        ("Uncaught Error: x\n  at worker.js:7:1", ("index.js", 7, 1)),
        ('Uncaught Error: No such module "no.js".\n  imported from "lib.js"', ("lib.js", 2, 1)),
        ("Script startup exceeded time limit", ("", 0, 1)),
        ("Uncaught Error: at the market:9:9", ("", 0, 1)),
    ],
)
def test_the_place_of_a_complaint(message: str, expected: tuple[Any, ...]) -> None:
    files = _files(index_js="a", lib_js="// one\nimport './no.js';")
    file, line, column = expected
    assert complaint_of(message, files) == Complaint(message, file, line, column)
