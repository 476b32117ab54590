"""KV, D1, R2, queues and other scripts, for a script on Lambda: the same answers as on a node, and nothing beyond
its bindings."""

import json
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest

from edge.lambda_zip import CREDENTIAL_VARIABLE, URL_VARIABLE
from tests.aws import services, storage
from tests.aws.cloud import KEY_ID, ROLE, SECRET, Cloud, running_cloud
from tests.aws.lambdas import Lambda
from tests.aws.relay import certified, relay
from tests.cast import upload_parts
from tests.edge.test_r2 import SCRIPT as R2
from tests.platform import Platform
from tests.wrangler.conftest import platform as platform

pytestmark = [pytest.mark.platform, pytest.mark.xdist_group("wrangler")]

Json = dict[str, Any]
# Of the moment, or of one object.
VOLATILE = {"duration", "uploaded", "version", "sql_duration_ms", "oldestMessageTimestamp"}
SETTLE_SECONDS = 60
# Both Workers are the same; each has storage of its own.
CELL, FUNCTION = "on-the-cell", "on-lambda"


class Both:
    """The same Worker on the node and, as what was pushed to AWS, under Lambda's own runtime client."""

    def __init__(self, platform: Platform, cloud: Cloud, folder: Path, ca: Path) -> None:
        self._platform, self._cloud, self._folder, self.ca = platform, cloud, folder, ca
        self._stack = ExitStack()
        target = {
            "name": "storage",
            "region": "eu-central-1",
            "role_arn": ROLE,
            "access_key_id": KEY_ID,
            "secret_access_key": SECRET,
        }
        self.target_id = platform.api.result("POST", "skerry/targets", json=target)["id"]
        self.functions: dict[str, Lambda] = {}

    def deploy(self, name: str, source: str, bindings: Callable[[str], list[Json]]) -> None:
        api = self._platform.api
        for side in (CELL, FUNCTION):
            parts = upload_parts(source, bindings=bindings(side))
            api.result("PUT", f"workers/scripts/{name}-{side}", **parts)
        enabled = {"enabled": True}
        api.result("POST", f"workers/scripts/{name}-{CELL}/subdomain", json=enabled)
        api.result("PUT", f"workers/scripts/{name}-{FUNCTION}/skerry-targets/{self.target_id}")
        self.functions[name] = self._start(*self.pushed(name))

    def pushed(self, name: str) -> tuple[bytes, dict[str, str]]:
        """What Lambda runs, as soon as it was pushed."""
        choice = f"workers/scripts/{name}-{FUNCTION}/skerry-targets"
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            (found,) = self._platform.api.result("GET", choice)["targets"]
            if found["function"]:
                return self._cloud.live(found["function"])
            assert time.monotonic() < deadline, found
            time.sleep(0.2)

    def _start(self, packed: bytes, variables: dict[str, str]) -> Lambda:
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        function = Lambda(packed, folder / "f", NODE_EXTRA_CA_CERTS=str(self.ca), **variables)
        self._stack.callback(function.stop)
        return function

    def on_the_cell(self, name: str, test: str) -> Any:
        host = self._platform.hostname(f"{name}-{CELL}")
        url = f"http://127.0.0.1:{self._platform.http_port}/{test}"
        answer = httpx2.post(url, headers={"Host": host}, trust_env=False, timeout=60)
        assert answer.status_code == 200, answer.text
        return steady(answer.json())

    def on_lambda(self, name: str, test: str) -> Any:
        function = self.functions[name]
        answer = function.visit("x.localhost", f"/{test}", "POST")
        assert answer.status == 200, function.log
        return steady(json.loads(answer.body))

    def close(self) -> None:
        self._stack.close()


def steady(value: Any) -> Any:
    """Without what is another every time."""
    if isinstance(value, dict):
        return {key: steady(one) for key, one in value.items() if key not in VOLATILE}
    return [steady(one) for one in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def both(platform: Platform) -> Iterator[Both]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="skerry-storage-")))
        cloud = stack.enter_context(running_cloud(folder, platform.aws_port))
        ca, context = certified(folder)
        upstream = int(platform.url.rpartition(":")[2])
        stack.enter_context(relay(platform.bindings_port, upstream, context))
        both = Both(platform, cloud, folder, ca)
        stack.callback(both.close)
        yield both


def namespace(platform: Platform, title: str) -> str:
    made = platform.api.result("POST", "storage/kv/namespaces", json={"title": title})
    return str(made["id"])


def same(both: Both, name: str, tests: str) -> None:
    for test in tests.split():
        assert both.on_lambda(name, test) == both.on_the_cell(name, test), test


def test_kv(both: Both, platform: Platform) -> None:
    ids = {side: namespace(platform, f"kv {side}") for side in (CELL, FUNCTION)}

    def bindings(side: str) -> list[Json]:
        return [{"name": "KV", "type": "kv_namespace", "namespace_id": ids[side]}]

    both.deploy("kv", storage.KV + storage.ALL, bindings)
    same(both, "kv", "values metadata many lists refusals unparsable")
    # The runtime sends metadata as it is, which is more than Latin-1.
    values = f"storage/kv/namespaces/{ids[CELL]}/values"
    assert platform.api.call("GET", f"{values}/m").text == "v"


def test_d1(both: Both, platform: Platform) -> None:
    def bindings(side: str) -> list[Json]:
        made = platform.api.result("POST", "d1/database", json={"name": f"d1-{side}"})
        return [{"name": "DB", "type": "d1", "id": made["uuid"]}]

    both.deploy("d1", storage.D1 + storage.ALL, bindings)
    same(both, "d1", "queries batches sessions refusals")


def test_r2(both: Both, platform: Platform) -> None:
    def bindings(side: str) -> list[Json]:
        platform.api.result("POST", "r2/buckets", json={"name": f"r2-{side}"})
        return [{"name": "B", "type": "r2_bucket", "bucket_name": f"r2-{side}"}]

    both.deploy("r2", R2, bindings)
    same(both, "r2", "facts ranges conditions lists multipart refusals")


def test_queues(both: Both, platform: Platform) -> None:
    def bindings(side: str) -> list[Json]:
        platform.api.result("POST", "queues", json={"queue_name": f"q-{side}"})
        return [
            {"name": "Q", "type": "queue", "queue_name": f"q-{side}"},
            {
                "name": "KV",
                "type": "kv_namespace",
                "namespace_id": namespace(platform, f"q {side}"),
            },
        ]

    both.deploy("queues", storage.QUEUES + storage.ALL, bindings)
    same(both, "queues", "sends refusals")
    for side in (CELL, FUNCTION):
        (queue,) = platform.api.result("GET", f"queues?name=q-{side}")
        consumer = {
            "type": "worker",
            "script_name": f"queues-{side}",
            "settings": {"max_wait_time_ms": 0},
        }
        platform.api.result("POST", f"queues/{queue['queue_id']}/consumers", json=consumer)
    deadline = time.monotonic() + SETTLE_SECONDS
    while (
        len(both.on_the_cell("queues", "received")) < 7
        or len(both.on_lambda("queues", "received")) < 7
    ):
        assert time.monotonic() < deadline, both.on_lambda("queues", "received")
        time.sleep(0.2)
    same(both, "queues", "received")


def test_services(both: Both, platform: Platform) -> None:
    platform.api.result("PUT", "workers/scripts/callee", **upload_parts(services.CALLEE))

    def bindings(service: str) -> list[Json]:
        named = {"service": service, "entrypoint": "Inner", "props": {"who": "ä", "n": [1]}}
        return [
            {"name": "B", "type": "service", "service": service},
            {"name": "NAMED", "type": "service", **named},
        ]

    both.deploy("calls", services.CALLER, lambda _: bindings("callee"))
    same(both, "calls", "requests answers redirects streams passed methods")
    assert both.on_lambda("calls", "unread") == "said"

    def itself(side: str) -> list[Json]:
        own = bindings(f"itself-{side}")
        return [*own, {"name": "SELF", "type": "service", "service": f"itself-{side}"}]

    both.deploy("itself", services.CALLER, itself)
    same(both, "itself", "requests answers redirects streams passed methods loop")
    assert both.on_lambda("itself", "loop") == [500, "error code: 1019"]
    for name in ("calls", "itself"):
        refused = both.on_lambda(name, "refusals")
        assert "does not implement" in refused.pop("events")
        assert all("only what can be cloned can" in said for said in refused.values()), refused


def test_a_credential_opens_nothing_of_another_script(both: Both, platform: Platform) -> None:
    """Runs after those above, whose Workers it uses."""
    _, variables = both.pushed("kv")
    url, secret = variables[URL_VARIABLE], variables[CREDENTIAL_VARIABLE]
    trusted = ssl.create_default_context(cafile=str(both.ca))
    with httpx2.Client(verify=trusted, trust_env=False, timeout=60) as client:

        def ask(method: str, path: str, content: bytes = b"") -> httpx2.Response:
            headers = {"Authorization": f"Bearer {secret}"}
            return client.request(method, f"{url}/{path}", content=content, headers=headers)

        assert ask("PUT", "KV/kept?urlencoded=true", b"value").status_code == 200
        others = [("PUT", "DB/kept"), ("POST", "DB/query"), ("PUT", "B/"), ("POST", "KV/destroy")]
        assert {ask(*other, b"x").status_code for other in others} == {403}
        assert ask("GET", "KV/kept?urlencoded=true").content == b"value"
        name = f"kv-{FUNCTION}"
        platform.api.result("DELETE", f"workers/scripts/{name}/skerry-targets/{both.target_id}")
        assert ask("PUT", "KV/kept?urlencoded=true", b"other").status_code == 403
    (found,) = platform.api.result("GET", f"workers/scripts/{name}/settings")["bindings"]
    values = f"storage/kv/namespaces/{found['namespace_id']}/values"
    assert platform.api.call("GET", f"{values}/kept").text == "value"
