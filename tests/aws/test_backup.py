"""The front of a node answers from a script's function while the node cannot run the script, and goes back by itself.

The function's URL is a real HTTPS server, and behind it is the exact ZIP under Lambda's own runtime client.
"""

import os
import signal
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from edge.lambda_zip import FRONT_VARIABLE
from tests.aws.lambdas import Functions, Lambda, answer_of, functions, url_event
from tests.aws.relay import certified
from tests.edge.bundles import Bundle, Json, host_of
from tests.edge.gateway import Gateway
from tests.edge.nodes import TestNode, running_node, until

pytestmark = pytest.mark.edge

SECRET = "5ec7e7" * 8
# A cell has no `process`; what it is asked at `/spin` never ends there.
SCRIPT = """
export default { async fetch(request) {
  const { pathname } = new URL(request.url);
  console.log("asked", pathname);
  while (pathname === "/spin" && !globalThis.process);
  if (pathname === "/own500") return new Response("mine", { status: 500 });
  const told = ["cf-connecting-ip", "x-forwarded-proto", "cf-ray", "x-skerry-front", "x-skerry-host"];
  return Response.json({ where: globalThis.process ? "lambda" : "cell", url: request.url, body: await request.text(),
    headers: Object.fromEntries(told.map((name) => [name, request.headers.get(name)])) });
} };"""
NEVER_ON_A_NODE = 'if (!globalThis.process) throw new Error("not here");' + SCRIPT


@contextmanager
def function_url(function: Lambda, context: ssl.SSLContext) -> Iterator[tuple[int, list[str]]]:
    """A port of this machine, and the paths that were asked for there."""
    asked: list[str] = []
    turn = threading.Lock()  # one instance has one invocation at a time

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None: ...

        def _any(self) -> None:
            asked.append(self.path)
            size = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(size) if size else None
            headers = dict(self.headers.items())
            event = url_event(self.headers["Host"], self.path, self.command, body, headers)
            with turn:
                answer = answer_of(function.invoke(event))
            self.send_response(answer.status)
            for name, value in {**answer.headers, "x-amzn-requestid": "r"}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_POST = _any  # noqa: N815 - what http.server calls them

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield server.server_port, asked
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def lambdas() -> Iterator[Functions]:
    with functions() as started:
        yield started


@pytest.fixture(scope="module")
def tls(folder: Path) -> tuple[Path, ssl.SSLContext]:
    return certified(folder)


@pytest.fixture(scope="module")
def node(gateway: Gateway, folder: Path, tls: tuple[Path, ssl.SSLContext]) -> Iterator[TestNode]:
    settings = {
        "SKERRY_CELL_CPU_SECONDS": "0.3",
        "SKERRY_FUNCTION_AUTHORITIES": str(tls[0]),
    }
    with running_node(gateway, folder, **settings) as node:
        yield node


def backup(port: int, host: str = "localhost") -> Json:
    return {"url": f"https://{host}:{port}/", "secret": SECRET}


def where(node: TestNode, name: str) -> str:
    answer = node.visit(name)
    return str(answer.json()["where"]) if answer.status == 200 else str(answer.status)


def test_a_blocked_script_answers_from_its_function_until_it_is_back(
    node: TestNode, lambdas: Functions, tls: tuple[Path, ssl.SSLContext]
) -> None:
    bundle = Bundle(SCRIPT)
    function = lambdas.start(bundle, **{FRONT_VARIABLE: SECRET})
    with function_url(function, tls[1]) as (port, asked):
        assert node.deploy("spinner", bundle, function=backup(port))["state"] == "live"
        assert where(node, "spinner") == "cell"
        for _ in range(3):
            assert node.visit("spinner", "/spin").status == 503
        until(lambda: where(node, "spinner") == "lambda", what="it is blocked")
        (front,) = node.pids("front")
        os.kill(front, signal.SIGKILL)
        assert where(node, "spinner") == "lambda", "it is in the files of the front"
        until(lambda: where(node, "spinner") == "cell", 30, "it goes back")
        assert "/spin" not in asked, "what reached a cell is never sent twice"
        count = len(asked)
        assert where(node, "spinner") == "cell"
        assert len(asked) == count
        assert node.events("front_repaired") == []


def test_a_function_answers_what_a_route_leads_to(
    node: TestNode, lambdas: Functions, tls: tuple[Path, ssl.SSLContext]
) -> None:
    bundle = Bundle(NEVER_ON_A_NODE)
    function = lambdas.start(bundle, **{FRONT_VARIABLE: SECRET})
    with function_url(function, tls[1]) as (port, _):
        more: Json = {"routes": [f"{host_of('way')}/there/*", f"*.{host_of('way')}/*"]}
        said = node.deploy("away", bundle, [], function=backup(port), more=more)
        assert said["state"] == "failed"
        until(lambda: node.visit("way", "/there/x").status == 200, what="the function is known")
        for host in (host_of("way"), f"a.{host_of('way')}"):
            told = node.visit("", "/there/x?q=1", host=host).json()
            assert told["url"] == f"http://{host}/there/x?q=1"
            assert told["where"] == "lambda"
        assert node.visit("way", "/elsewhere").status == 404


def test_what_no_node_can_start_is_answered_as_the_visitor_asked(
    node: TestNode, lambdas: Functions, tls: tuple[Path, ssl.SSLContext]
) -> None:
    bundle = Bundle(NEVER_ON_A_NODE)
    function = lambdas.start(bundle, **{FRONT_VARIABLE: SECRET})
    with function_url(function, tls[1]) as (port, _):
        assert node.deploy("elsewhere", bundle, function=backup(port))["state"] == "failed"
        until(lambda: where(node, "elsewhere") == "lambda", what="the function is known")
        forged = {"X-Skerry-Host": "evil.example", "CF-Connecting-IP": "6.6.6.6"}
        answer = node.visit("elsewhere", "/a%20b?q=1", "POST", b"body", forged)
        told = answer.json()
        assert told["url"] == f"http://{host_of('elsewhere')}/a%20b?q=1"
        assert told["body"] == "body"
        headers = told["headers"]
        assert isinstance(headers, dict)
        assert headers["cf-connecting-ip"] == "127.0.0.1"
        assert headers["x-forwarded-proto"] == "http"
        assert headers["cf-ray"] == answer.headers["cf-ray"], "one name for the request everywhere"
        assert headers["x-skerry-front"] is None
        assert not [name for name in answer.headers if name.startswith(("x-amzn", "x-skerry"))]
        own = node.visit("elsewhere", "/own500")
        assert (own.status, own.text) == (500, "mine")
        # Another secret: somebody who found the URL, and claims to be the front.
        event = url_event(
            "f.lambda-url.on.aws", headers={"X-Skerry-Front": "guess", "X-Skerry-Host": "x"}
        )
        claimed = answer_of(function.invoke(event))
        assert b"https://f.lambda-url.on.aws/" in claimed.body
        # The name of the certificate counts.
        node.deploy("elsewhere", bundle, function=backup(port, "127.0.0.1"))
        until(lambda: where(node, "elsewhere") == "503", what="nobody proves to be that one")
        node.deploy("elsewhere", bundle)
        assert where(node, "elsewhere") == "503"
