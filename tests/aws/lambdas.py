"""AWS Lambda, as far as a function can tell: the exact ZIP under the official runtime client, and a Runtime API.

What Lambda's front doors do is done here too: an event for each request, the answer out of what came back.
"""

import base64
import io
import json
import os
import queue
import subprocess
import tempfile
import threading
import time
import uuid
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from edge.lambda_zip import HANDLER, KEY_VARIABLE, pack
from edge.spec import read_spec
from tests.aws.client import NODE, runtime_client
from tests.edge.bundles import Bundle

KEY = b"k" * 32
PRELUDE_TYPE = "application/vnd.awslambda.http-integration-response"
API = "/2018-06-01/runtime"


@dataclass
class Invocation:
    """One call of the function, and what came of it."""

    event: Any
    seconds: float
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    content_type: str = ""
    pieces: list[tuple[float, bytes]] = field(default_factory=list)
    """What was written, each with its moment."""
    error: str = ""
    answered: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    """The client has asked for the next one: only now Lambda would freeze the process."""

    @property
    def payload(self) -> bytes:
        return b"".join(piece for _, piece in self.pieces)

    def json(self) -> Any:
        assert self.content_type == "application/json", self
        return json.loads(self.payload)


@dataclass(frozen=True)
class Answer:
    """What a visitor sees."""

    status: int
    headers: dict[str, str]
    cookies: list[str]
    body: bytes


class _RuntimeApi(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.waiting: queue.Queue[Invocation | None] = queue.Queue()
        self.running: dict[str, Invocation] = {}
        self.last: Invocation | None = None
        self.init_error = ""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _RuntimeApi

    def log_message(self, *_: Any) -> None: ...

    def do_GET(self) -> None:
        if self.server.last:
            self.server.last.ended.set()
        invocation = self.server.waiting.get()
        if invocation is None:
            self.close_connection = True
            return
        self.server.last = self.server.running[invocation.id] = invocation
        body = json.dumps(invocation.event).encode()
        self.send_response(200)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Lambda-Runtime-Aws-Request-Id": invocation.id,
            "Lambda-Runtime-Deadline-Ms": str(round((time.time() + invocation.seconds) * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:eu-central-1:1:function:f",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        if self.path.startswith(f"{API}/init/error"):
            self.server.init_error = self._whole().decode()
        else:
            self._take(self.server.running[self.path.split("/")[-2]])
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _take(self, invocation: Invocation) -> None:
        invocation.content_type = self.headers["Content-Type"]
        if self.path.endswith("/error"):
            invocation.error = self._whole().decode()
        elif self.headers.get("Transfer-Encoding") == "chunked":
            for piece in self._chunks(invocation):
                invocation.pieces.append((time.monotonic(), piece))
        else:
            invocation.pieces.append((time.monotonic(), self._whole()))
        invocation.answered.set()

    def _whole(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    def _chunks(self, invocation: Invocation) -> Iterator[bytes]:
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        while line := self.rfile.readline().strip():
            name, _, value = line.decode().partition(":")
            if name.lower() == "lambda-runtime-function-error-type":
                invocation.error = value.strip()


class Lambda:
    """One warm instance of a function."""

    def __init__(self, packed: bytes, folder: Path, **variables: str) -> None:
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            archive.extractall(folder)
        self.seconds = 30.0
        """What it has for one invocation."""
        self.api = _RuntimeApi()
        threading.Thread(target=self.api.serve_forever, args=(0.05,), daemon=True).start()
        self._log = folder.parent / f"{folder.name}.log"
        environ = {
            "PATH": os.environ["PATH"],
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self.api.server_port}",
            "_HANDLER": HANDLER,
            "LAMBDA_TASK_ROOT": str(folder),
            "AWS_REGION": "eu-central-1",
            "AWS_LAMBDA_FUNCTION_NAME": "f",
            "AWS_LAMBDA_FUNCTION_VERSION": "1",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
            "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/f",
            "AWS_LAMBDA_LOG_STREAM_NAME": "s",
            "AWS_EXECUTION_ENV": "AWS_Lambda_nodejs22.x",
            "AWS_ACCESS_KEY_ID": "of-the-role",
            "AWS_SECRET_ACCESS_KEY": "of-the-role",
            "AWS_SESSION_TOKEN": "of-the-role",
            KEY_VARIABLE: base64.b64encode(KEY).decode(),
            **variables,
        }
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [str(NODE), str(runtime_client()), HANDLER],
                cwd=folder,
                env=environ,
                stdout=log,
                stderr=log,
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def begin(self, event: Any) -> Invocation:
        invocation = Invocation(event, self.seconds)
        self.api.waiting.put(invocation)
        return invocation

    def invoke(self, event: Any, seconds: float = 30) -> Invocation:
        """Call it and wait until it has answered and ended."""
        invocation = self.begin(event)
        deadline = time.monotonic() + seconds
        while not (invocation.answered.wait(0.5) and invocation.ended.wait(0.5)):
            assert self.process.poll() is None, f"the function's process ended\n{self.log}"
            assert time.monotonic() < deadline, f"no answer within {seconds} s\n{self.log}"
        return invocation

    def visit(
        self,
        host: str,
        path: str = "/",
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """A visitor at the function's URL."""
        return answer_of(self.invoke(url_event(host, path, method, body, headers)))

    def stop(self) -> None:
        """Any number of times."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.api.waiting.put(None)
        self.api.shutdown()
        self.api.server_close()


def url_event(
    host: str,
    path: str = "/",
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """What a function URL makes of a request (payload format 2.0)."""
    target, _, query = path.partition("?")
    sent = {"host": host, **{key.lower(): value for key, value in (headers or {}).items()}}
    if body is not None:
        sent["content-length"] = str(len(body))
    cookies = sent.pop("cookie", "")
    event = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": target,
        "rawQueryString": query,
        "headers": sent,
        "requestContext": {
            "domainName": "abc.lambda-url.eu-central-1.on.aws",
            "http": {
                "method": method,
                "path": target,
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": "",
            },
            "stage": "$default",
        },
        "isBase64Encoded": body is not None,
    }
    if cookies:
        event["cookies"] = cookies.split("; ")
    if body is not None:
        event["body"] = base64.b64encode(body).decode()
    return event


def answer_of(invocation: Invocation) -> Answer:
    """What a function URL makes of a streamed answer."""
    assert invocation.content_type == PRELUDE_TYPE, invocation
    text, mark, body = invocation.payload.partition(b"\0" * 8)
    assert mark, invocation
    prelude = json.loads(text)
    return Answer(prelude["statusCode"], prelude["headers"], prelude.get("cookies", []), body)


def packed(bundle: Bundle) -> bytes:
    return pack(read_spec(bundle.spec()), bundle.files(), KEY)


@dataclass
class Functions:
    """Starts functions and keeps them warm until the end of the tests of a file."""

    folder: Path
    started: list[Lambda] = field(default_factory=list)
    names: ClassVar[Iterator[int]] = iter(range(10**6))

    def start(self, bundle: Bundle, **variables: str) -> Lambda:
        function = Lambda(packed(bundle), self.folder / f"f{next(self.names)}", **variables)
        self.started.append(function)
        return function


@contextmanager
def functions() -> Iterator[Functions]:
    with tempfile.TemporaryDirectory(prefix="skerry-lambda-") as folder:
        found = Functions(Path(folder))
        try:
            yield found
        finally:
            for function in found.started:
                function.stop()
