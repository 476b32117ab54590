"""R2 through the native binding of a script and through the agent's API, on a real node."""

import hashlib
import http.client
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.paths import NodePaths
from tests.edge.bundles import ACCOUNT_ID, Bundle, Json, host_of
from tests.edge.gateway import Gateway
from tests.edge.nodes import Answer, TestNode, running_node, until

MIB = 1024 * 1024
# A node's process that serves R2 may have so much, however large what passes through it is.
MEMORY_KIB = 200 * 1024

# `POST /` runs the body as the body of a function of `b`, the bucket; the rest is a file server.
SCRIPT = """
const shown = (object) => object && { ...JSON.parse(JSON.stringify(object)), body: "body" in object };
const said = async (work) => { try { return await work(); } catch (error) { return error.message; } };
const TESTS = {
  async facts(b) {
    const sha256 = await crypto.subtle.digest("SHA-256", new TextEncoder().encode("hello world"));
    const httpMetadata = { contentType: "text/x", cacheExpiry: new Date(5000) };
    const put = await b.put("ä/ключ", "hello world", { sha256, httpMetadata, customMetadata: { ü: "ö" } });
    return [shown(put), shown(await b.head("ä/ключ")), await (await b.get("ä/ключ")).text()];
  },
  async ranges(b) {
    await b.put("r", "0123456789");
    const asked = [{ offset: 2 }, { offset: 2, length: 3 }, { suffix: 4 }, { suffix: 99 }, { offset: 10 }, { length: 0 },
      new Headers({ range: "bytes=1-3" }), new Headers({ range: "bytes=9-99" }), new Headers({ range: "bytes=0-1,3-4" })];
    const read = (range) => said(async () => { const o = await b.get("r", { range }); return [o.range, await o.text()]; });
    return Promise.all(asked.map(read));
  },
  async conditions(b) {
    const { etag, uploaded } = await b.put("c", "1");
    const before = new Date(uploaded.getTime() - 5000), after = new Date(uploaded.getTime() + 5000);
    const asked = [{ etagMatches: etag }, { etagMatches: "x" }, { etagDoesNotMatch: etag }, { uploadedBefore: after },
      { uploadedBefore: before }, { uploadedAfter: before }, { uploadedAfter: after },
      new Headers({ "if-none-match": `W/"${etag}"` }), new Headers({ "if-match": "*" }),
      new Headers({ "if-modified-since": after.toUTCString() })];
    const got = await Promise.all(asked.map(async (onlyIf) => (await b.get("c", { onlyIf })).body !== undefined));
    const refused = await b.put("c", "2", { onlyIf: { etagMatches: "x" } });
    const absent = await b.put("new", "2", { onlyIf: new Headers({ "if-none-match": "*" }) });
    const present = await b.put("new", "3", { onlyIf: new Headers({ "if-none-match": "*" }) });
    return { got, refused, made: absent !== null, present, kept: await (await b.get("c")).text() };
  },
  async lists(b) {
    for (const key of ["l/a/1", "l/a/2", "l/b/1", "l/c", "l/ü", "l/\\u{1F600}", "l/\\uffee"]) {
      await b.put(key, key, { customMetadata: { key } });
    }
    const names = (list) => [list.objects.map(({ key }) => key), list.delimitedPrefixes, list.truncated];
    const pages = [];
    let cursor;
    do {
      const page = await b.list({ prefix: "l/", delimiter: "/", limit: 2, cursor });
      pages.push(names(page));
      cursor = page.cursor;
    } while (cursor);
    const included = await b.list({ prefix: "l/c", include: ["customMetadata"] });
    const large = "x".repeat(8000);
    for (let number = 0; number < 40; number++) await b.put(`m/${number}`, "", { customMetadata: { large } });
    const first = await b.list({ prefix: "m/", include: ["customMetadata"] });
    const rest = await b.list({ prefix: "m/", include: ["customMetadata"], cursor: first.cursor });
    await b.delete(["l/a/1", "l/c", "l/none"]);
    return { pages, all: names(await b.list({ prefix: "l/" })), after: names(await b.list({ prefix: "l/", startAfter: "l/b/1" })),
      included: shown(included.objects[0]).customMetadata, sizes: [first.objects.length + rest.objects.length, first.truncated] };
  },
  async multipart(b) {
    const half = new Uint8Array(5 * 1024 * 1024).fill(7);
    const upload = await b.createMultipartUpload("p", { customMetadata: { m: "1" }, httpMetadata: { contentType: "a/b" } });
    const again = b.resumeMultipartUpload("p", upload.uploadId);
    const stale = await upload.uploadPart(1, "stale");
    const [two, one, three] = [await upload.uploadPart(2, half), await again.uploadPart(1, half), await again.uploadPart(3, "end")];
    const wrong = await said(() => upload.complete([{ ...one, etag: stale.etag }, two]));
    const done = await upload.complete([one, two, three]);
    const tail = await (await b.get("p", { range: { offset: 2 * half.length - 2 } })).arrayBuffer();
    const across = await (await b.get("p", { range: { offset: half.length - 1, length: 2 } })).arrayBuffer();
    await upload.abort();
    const small = await b.createMultipartUpload("q");
    const parts = [await small.uploadPart(1, "x"), await small.uploadPart(2, "y")];
    const refused = await said(() => small.complete(parts));
    await small.abort();
    return { wrong, done: shown(done), tail: [...new Uint8Array(tail)], across: across.byteLength, refused,
      ended: await said(() => small.complete(parts)), late: await said(() => upload.uploadPart(4, "x")),
      never: await said(() => b.resumeMultipartUpload("q", "none").complete(parts)), none: await b.head("q") };
  },
  async refusals(b) {
    await b.put("kept", "kept");
    const tries = { digest: () => b.put("kept", "x", { md5: "0".repeat(32) }), key: () => b.put("k".repeat(1025), "x"),
      metadata: () => b.put("kept", "x", { customMetadata: { large: "x".repeat(8193) } }), empty: () => b.head(""),
      limit: () => b.list({ limit: 1001 }), cursor: () => b.list({ cursor: "!" }),
      many: () => b.delete(Array.from({ length: 1001 }, (_, n) => `${n}`)),
      encrypted: () => b.put("kept", "x", { ssecKey: new Uint8Array(32) }) };
    const told = {};
    for (const [name, work] of Object.entries(tries)) told[name] = await said(work);
    return { told, kept: await (await b.get("kept")).text(), class: (await b.put("i", "", { storageClass: "InfrequentAccess" })).storageClass };
  },
};
export default {
  async fetch(request, env) {
    const key = decodeURIComponent(new URL(request.url).pathname.slice(1));
    if (request.method === "POST") return Response.json(await TESTS[key](env.B));
    if (request.method === "PUT") return Response.json(await env.B.put(key, request.body ?? ""));
    const object = await env.B.get(key);
    return object === null ? new Response("nothing", { status: 404 }) : new Response(object.body);
  },
};
"""


def bound(bucket: str) -> Bundle:
    binding: Json = {"name": "B", "type": "r2_bucket", "bucket_name": bucket}
    return Bundle(SCRIPT, bindings=[binding])


@pytest.fixture(scope="module")
def node(gateway: Gateway, folder: Path) -> Iterator[TestNode]:
    with running_node(gateway, folder) as node:
        assert node.deploy("one", bound("first"))["state"] == "live"
        assert node.deploy("two", bound("second"))["state"] == "live"
        yield node


def run(node: TestNode, test: str) -> Any:
    answer = node.visit("one", f"/{test}", "POST")
    assert answer.status == 200, answer.text
    return answer.json()


def ask(
    node: TestNode, method: str, asked: Json, content: bytes = b"", bucket: str = "first"
) -> Answer:
    """As the control plane asks."""
    text = json.dumps({"version": 1, **asked})
    path = f"/stores/r2/{ACCOUNT_ID}/{bucket}/"
    if method == "GET":
        return Answer(
            *node.gateway.ask(node.enrolled, "GET", path, headers={"CF-R2-Request": text})
        )
    size = {"CF-R2-Metadata-Size": str(len(text.encode()))}
    body = text.encode() + content
    return Answer(*node.gateway.ask(node.enrolled, "PUT", path, body, headers=size))


def facts(answer: Answer) -> tuple[Json, bytes]:
    """The metadata and the content of an answer."""
    size = int(answer.headers["cf-r2-metadata-size"])
    found: Json = json.loads(answer.body[:size])
    return found, answer.body[size:]


def peak_memory(node: TestNode) -> int:
    (pid,) = node.pids(f"store:r2-{ACCOUNT_ID}")
    (line,) = [
        one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one[:6] == "VmHWM:"
    ]
    return int(line.split()[1])


def blobs(node: TestNode) -> list[Path]:
    folder = NodePaths.of(node.folder).store_data(ACCOUNT_ID, "r2") / "blobs"
    return [path for path in folder.rglob("*") if path.is_file()]


def test_what_is_put_is_got_with_all_that_was_said_of_it(node: TestNode) -> None:
    put, head, text = run(node, "facts")
    content = b"hello world"
    assert (text, head["key"], head["size"]) == ("hello world", "ä/ключ", 11)
    assert head["etag"] == hashlib.md5(content, usedforsecurity=False).hexdigest()
    assert head["checksums"] == {
        "md5": head["etag"],
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    assert head["httpMetadata"] == {
        "contentType": "text/x",
        "cacheExpiry": "1970-01-01T00:00:05.000Z",
    }
    assert head["customMetadata"] == {"ü": "ö"}
    assert head["storageClass"] == "Standard"
    assert {**head, "range": None} == {**put, "range": None}


def test_ranges(node: TestNode) -> None:
    unsatisfiable = "get: The requested range is not satisfiable (10039)"
    whole = [{"offset": 0, "length": 10}, "0123456789"]
    assert run(node, "ranges") == [
        [{"offset": 2, "length": 8}, "23456789"],
        [{"offset": 2, "length": 3}, "234"],
        [{"offset": 6, "length": 4}, "6789"],
        whole,
        unsatisfiable,
        unsatisfiable,
        [{"offset": 1, "length": 3}, "123"],
        [{"offset": 9, "length": 1}, "9"],
        whole,
    ]


def test_conditions(node: TestNode) -> None:
    assert run(node, "conditions") == {
        "got": [True, False, False, True, False, True, False, False, True, False],
        "refused": None,
        "made": True,
        "present": None,
        "kept": "1",
    }


def test_lists_are_in_the_order_of_utf_8_and_come_in_pages(node: TestNode) -> None:
    told = run(node, "lists")
    assert told["pages"] == [
        [[], ["l/a/", "l/b/"], True],
        [["l/c", "l/ü"], [], True],
        [["l/\uffee", "l/\U0001f600"], [], False],
    ]
    left = ["l/a/2", "l/b/1", "l/ü", "l/\uffee", "l/\U0001f600"]
    assert told["all"] == [left, [], False]
    assert told["after"] == [left[2:], [], False]
    assert told["included"] == {"key": "l/c"}
    assert told["sizes"] == [40, True]


def test_uploads_in_parts(node: TestNode) -> None:
    told = run(node, "multipart")
    done = told["done"]
    half = hashlib.md5(b"\7" * 5 * MIB, usedforsecurity=False).digest()
    joined = half + half + hashlib.md5(b"end", usedforsecurity=False).digest()
    assert done["etag"] == f"{hashlib.md5(joined, usedforsecurity=False).hexdigest()}-3"
    assert (done["size"], done["checksums"]) == (10 * MIB + 3, {})
    assert (done["customMetadata"], done["httpMetadata"]) == ({"m": "1"}, {"contentType": "a/b"})
    assert told["tail"] == [7, 7, *b"end"]
    assert told["across"] == 2
    no_such = "The specified multipart upload does not exist. (10024)"
    assert told["ended"] == f"completeMultipartUpload: {no_such}"
    assert told["late"] == f"uploadPart: {no_such}"
    assert told["wrong"].endswith("could not be found. (10025)")
    assert told["refused"].endswith("minimum allowed object size. (10011)")
    assert told["never"].endswith("(10001)")
    assert told["none"] is None


def test_what_is_refused_changes_nothing(node: TestNode) -> None:
    told = run(node, "refusals")
    codes = {name: said.rpartition("(")[2] for name, said in told["told"].items()}
    assert codes == {
        "digest": "10037)",
        "key": "10020)",
        "metadata": "10012)",
        "empty": "10020)",
        "limit": "10022)",
        "cursor": "10029)",
        "many": "10029)",
        "encrypted": "10029)",
    }
    assert (told["kept"], told["class"]) == ("kept", "InfrequentAccess")


def test_one_door_sees_what_the_other_wrote_and_no_other_bucket(node: TestNode) -> None:
    put = ask(node, "PUT", {"method": "put", "object": "door"}, b"from outside")
    assert (put.status, facts(put)[0]["size"]) == (200, 12)
    assert node.visit("one", "/door").text == "from outside"
    assert node.visit("two", "/door").status == 404
    gone = ask(node, "GET", {"method": "get", "object": "door"}, bucket="second")
    assert gone.status == 404
    assert json.loads(gone.headers["cf-r2-error"])["v4code"] == 10007
    assert node.visit("one", "/door", "PUT", b"from inside").status == 200
    got = facts(ask(node, "GET", {"method": "get", "object": "door"}))
    assert got[1] == b"from inside"


def test_totals_and_the_end_of_a_bucket(node: TestNode) -> None:
    def totals() -> Json:
        return facts(ask(node, "GET", {"method": "totals"}, bucket="third"))[0]

    for key, content in (("a", b"123"), ("b", b"4567"), ("a", b"1")):
        ask(node, "PUT", {"method": "put", "object": key}, content, bucket="third")
    assert totals() == {"objects": 2, "bytes": 5}
    begun = {"method": "createMultipartUpload", "object": "c"}
    upload = facts(ask(node, "PUT", begun, bucket="third"))[0]["uploadId"]
    part = {"method": "uploadPart", "object": "c", "uploadId": upload, "partNumber": 1}
    ask(node, "PUT", part, b"part", bucket="third")
    listed = facts(ask(node, "GET", {"method": "listUploads"}, bucket="third"))[0]["uploads"]
    assert [(one["key"], one["uploadId"]) for one in listed] == [("c", upload)]
    before = len(blobs(node))
    path = f"/stores/r2/{ACCOUNT_ID}/third/destroy"
    assert node.gateway.ask(node.enrolled, "POST", path)[0] == 409
    ask(node, "PUT", {"method": "delete", "objects": ["a", "b"]}, bucket="third")
    assert node.gateway.ask(node.enrolled, "POST", path)[0] == 200
    assert before - len(blobs(node)) == 3
    assert totals() == {"objects": 0, "bytes": 0}
    again = ask(node, "PUT", {"method": "put", "object": "again"}, b"1", bucket="third")
    assert (again.status, totals()) == (200, {"objects": 1, "bytes": 1})


def test_overwritten_and_deleted_objects_leave_no_files(node: TestNode) -> None:
    before = len(blobs(node))
    for number in range(5):
        node.visit("one", "/replaced", "PUT", str(number).encode())
    until(lambda: len(blobs(node)) == before + 1, what="replaced objects are deleted")
    ask(node, "PUT", {"method": "delete", "objects": ["replaced"]})
    until(lambda: len(blobs(node)) == before, what="deleted objects are deleted")


def test_large_objects_pass_through_little_memory(node: TestNode) -> None:
    size = 200 * MIB
    block = os.urandom(MIB)
    digest = hashlib.md5(block * (size // MIB), usedforsecurity=False).hexdigest()
    connection = http.client.HTTPConnection("127.0.0.1", node.http_port, timeout=60)
    headers = {"Host": host_of("one"), "Content-Length": str(size)}
    connection.request("PUT", "/large", (block for _ in range(size // MIB)), headers)
    assert json.loads(connection.getresponse().read())["etag"] == digest
    connection.request("GET", "/large", headers={"Host": host_of("one")})
    answer, found = connection.getresponse(), hashlib.md5(usedforsecurity=False)
    while part := answer.read(MIB):
        found.update(part)
    assert found.hexdigest() == digest
    connection.close()
    assert peak_memory(node) < MEMORY_KIB
    ask(node, "PUT", {"method": "delete", "object": "large"})


def test_halves_of_objects_do_not_survive_the_kill_of_the_store(node: TestNode) -> None:
    role = f"store:r2-{ACCOUNT_ID}"
    assert node.visit("one", "/whole", "PUT", b"whole").status == 200
    before = len(blobs(node))
    connection = http.client.HTTPConnection("127.0.0.1", node.http_port, timeout=60)
    connection.putrequest("PUT", "/half", skip_host=True)
    connection.putheader("Host", host_of("one"))
    connection.putheader("Content-Length", str(20 * MIB))
    connection.endheaders()
    connection.send(os.urandom(4 * MIB))
    until(lambda: len(blobs(node)) > before, what="half of the object is on the disk")
    os.kill(node.pids(role)[0], signal.SIGKILL)
    connection.close()
    assert node.visit("one", "/half").status == 404
    until(lambda: len(blobs(node)) == before, what="the half is swept away")
