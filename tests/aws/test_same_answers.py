"""Each sample answers the same on a cell of a node and on the Lambda runtime, field by field."""

import gzip
import http.client
import re
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.aws.lambdas import Answer, Functions, functions
from tests.aws.workers import SAMPLES, Ask
from tests.edge.bundles import host_of
from tests.edge.gateway import Gateway
from tests.edge.nodes import TestNode, running_node

pytestmark = pytest.mark.edge

# Of the connection, of the moment, or the invocation's own name.
OF_THE_WAY = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "cf-ray"}
RAY = re.compile(rb"(?<=Ray ID: )[0-9a-f]{16}")


@pytest.fixture(scope="module")
def node(gateway: Gateway, folder: Path) -> Iterator[TestNode]:
    with running_node(gateway, folder, SKERRY_SLOTS="80") as node:
        yield node


@pytest.fixture(scope="module")
def lambdas() -> Iterator[Functions]:
    with functions() as started:
        yield started


@pytest.mark.parametrize("name", SAMPLES)
def test_the_same_answer(node: TestNode, lambdas: Functions, name: str) -> None:
    sample = SAMPLES[name]
    script = re.sub(r"\W+", "-", name)
    function = lambdas.start(sample.bundle)  # it starts while the node does
    function.seconds = sample.seconds
    said = node.deploy(script, sample.bundle)
    assert said["state"] != "failed", said
    for ask in sample.asks:
        on_lambda = function.visit(host_of(script), ask.path, ask.method, ask.body, ask.headers)
        assert shown(on_lambda) == shown(visit(node, host_of(script), ask)), function.log
    function.stop()


def shown(answer: Answer) -> dict[str, object]:
    headers = {name: value for name, value in answer.headers.items() if name not in OF_THE_WAY}
    return {
        "status": answer.status,
        "headers": headers,
        "cookies": answer.cookies,
        "body": RAY.sub(b"...", plain(answer)),
    }


def plain(answer: Answer) -> bytes:
    encoded = answer.headers.get("content-encoding") == "gzip"
    return gzip.decompress(answer.body) if encoded else answer.body


def visit(node: TestNode, host: str, ask: Ask) -> Answer:
    """A visitor at the node, over TLS as at a function's URL."""
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection(
        "127.0.0.1", node.https_port, timeout=60, context=trusting
    )
    try:
        connection.putrequest(ask.method, ask.path, skip_host=True, skip_accept_encoding=True)
        for name, value in {"Host": host, **ask.headers}.items():
            connection.putheader(name, value)
        if ask.body is not None:
            connection.putheader("Content-Length", str(len(ask.body)))
        connection.endheaders(ask.body)
        response = connection.getresponse()
        pairs = [(name.lower(), value) for name, value in response.getheaders()]
        body = response.read()
    finally:
        connection.close()
    cookies = [value for name, value in pairs if name == "set-cookie"]
    headers: dict[str, str] = {}
    for name, value in pairs:
        if name != "set-cookie":
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return Answer(response.status, headers, cookies, body)
