"""AWS for tests: moto behind a proxy that is as strict as AWS where moto is not.

A function is pending after each change, and refuses the next one until then. What is no ZIP is refused.
Unchanged code publishes no new version. Who has no permission is told which. A call of a function runs
its ZIP under the official runtime client.
"""

import base64
import http.client
import io
import json
import re
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import boto3

from tests.aws.lambdas import Lambda
from tests.edge.nodes import free_port, until

KEY_ID, SECRET = "AKIASKERRYTESTSONLY1", "secret-of-the-tests"
ROLE = "arn:aws:iam::123456789012:role/lambda-role"
ACCESS_ROLE = "arn:aws:iam::123456789012:role/skerry"

OPERATIONS = {
    "POST /functions": "CreateFunction",
    "GET /functions/NAME": "GetFunction",
    "DELETE /functions/NAME": "DeleteFunction",
    "GET /functions/NAME/configuration": "GetFunctionConfiguration",
    "PUT /functions/NAME/configuration": "UpdateFunctionConfiguration",
    "PUT /functions/NAME/code": "UpdateFunctionCode",
    "GET /functions/NAME/versions": "ListVersionsByFunction",
    "POST /functions/NAME/versions": "PublishVersion",
    "GET /functions/NAME/aliases/live": "GetAlias",
    "PUT /functions/NAME/aliases/live": "UpdateAlias",
    "POST /functions/NAME/aliases": "CreateAlias",
    "GET /functions/NAME/url": "GetFunctionUrlConfig",
    "POST /functions/NAME/url": "CreateFunctionUrlConfig",
    "PUT /functions/NAME/url": "UpdateFunctionUrlConfig",
    "GET /functions/NAME/policy": "GetPolicy",
    "POST /functions/NAME/policy": "AddPermission",
    "POST /functions/NAME/invocations": "Invoke",
}
CHANGES = {"UpdateFunctionConfiguration", "UpdateFunctionCode", "PublishVersion"}
READS = ("Get", "List", "Describe", "Filter", "AssumeRole", "Invoke")
# How many looks a change takes to be done.
PENDING_LOOKS = 2


@dataclass
class Call:
    method: str
    path: str
    headers: Any
    body: bytes
    operation: str
    name: str
    """Of the function."""

    def json(self) -> Any:
        return json.loads(self.body or b"{}")


@dataclass
class FailureError(Exception):
    status: int
    code: str
    message: str


@dataclass
class Cloud:
    """What the tests change and look at."""

    folder: Path
    moto_port: int
    keys: set[str] = field(default_factory=lambda: {KEY_ID})
    denied: set[str] = field(default_factory=set)
    throttled: int = 0
    broken_at: str = ""
    """The operation that fails with 500, whenever it is called."""
    calls: list[str] = field(default_factory=list)
    pending: dict[str, int] = field(default_factory=dict)
    zips: dict[tuple[str, str], bytes] = field(default_factory=dict)
    """By function and published number."""
    published: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    external_id: str = ""
    url: str = ""

    def changes(self) -> list[str]:
        return [call for call in self.calls if not call.startswith(READS)]

    # What moto is too lax for

    def check(self, call: Call) -> None:
        self.calls.append(call.operation)
        if self.throttled:
            self.throttled -= 1
            raise FailureError(429, "TooManyRequestsException", "Rate Exceeded.")
        self._authenticate(call)
        permission = f"{_service(call)}:{call.operation}"
        if permission in self.denied:
            raise FailureError(
                403, "AccessDeniedException",
                f"User: arn:aws:iam::1:user/u is not authorized to perform: {permission} on resource: *",
            )  # fmt: skip
        if call.operation == self.broken_at:
            raise FailureError(500, "ServiceException", "An internal error occurred.")
        if call.operation in CHANGES and self.pending.get(call.name):
            raise FailureError(409, "ResourceConflictException", "An update is in progress.")
        if call.operation in ("CreateFunction", "UpdateFunctionCode"):
            _check_zip(call)

    def _authenticate(self, call: Call) -> None:
        found = re.search(r"Credential=([^/]+)/", call.headers.get("Authorization", ""))
        key = found.group(1) if found else ""
        if key not in self.keys and not key.startswith("ASIA"):
            raise FailureError(403, "UnrecognizedClientException", "The security token is invalid.")
        if call.operation == "AssumeRole":
            given = parse_qs(call.body.decode()).get("ExternalId", [""])[0]
            if given != self.external_id:
                raise FailureError(
                    403, "AccessDenied", "User: u is not authorized to perform: sts:AssumeRole on resource: r",
                )  # fmt: skip

    def instead(self, call: Call) -> tuple[int, dict[str, str], bytes] | None:
        """An answer that moto would give wrongly or not at all."""
        if call.operation == "Invoke":
            return self._invoke(call)
        if call.operation == "PublishVersion":
            return self._unchanged(call)
        return None

    def live(self, name: str) -> tuple[bytes, dict[str, str]]:
        """ZIP and variables of the version that the alias `live` sends most visitors to."""
        api = boto3.client(
            "lambda",
            endpoint_url=f"http://127.0.0.1:{self.moto_port}",
            region_name="eu-central-1",
            aws_access_key_id=KEY_ID,
            aws_secret_access_key=SECRET,
        )
        number = api.get_alias(FunctionName=name, Name="live")["FunctionVersion"]
        found = api.get_function_configuration(FunctionName=name, Qualifier=number)
        return self.zips[name, number], found["Environment"]["Variables"]

    def _invoke(self, call: Call) -> tuple[int, dict[str, str], bytes] | None:
        (number,) = parse_qs(call.path.partition("?")[2]).get("Qualifier", [""])
        packed = self.zips.get((call.name, number))
        if packed is None:
            return None
        status, _, body = self.forward(
            "GET", f"/2015-03-31/functions/{call.name}/configuration?Qualifier={number}", call
        )
        assert status == 200, body
        variables = json.loads(body)["Environment"]["Variables"]
        folder = self.folder / f"{call.name}-{number}-{len(self.calls)}"
        function = Lambda(packed, folder, **variables)
        try:
            invocation = function.begin(call.json())
            while not (invocation.answered.wait(0.2) or function.process.poll() is not None):
                pass
            if function.api.init_error or invocation.error:
                error = function.api.init_error or json.dumps({"errorMessage": invocation.error})
                return 200, {"X-Amz-Function-Error": "Unhandled"}, error.encode()
            return 200, {}, invocation.payload
        finally:
            function.stop()

    def _unchanged(self, call: Call) -> tuple[int, dict[str, str], bytes] | None:
        now = self._state(call)
        wanted = call.json().get("CodeSha256")
        if wanted and wanted != now[0]:
            raise FailureError(412, "PreconditionFailedException", "The code is another one.")
        state, answer = self.published.get(call.name, (None, None))
        return (201, {}, json.dumps(answer).encode()) if state == now else None

    def _state(self, call: Call) -> Any:
        _, _, body = self.forward("GET", f"/2015-03-31/functions/{call.name}/configuration", call)
        found = json.loads(body)
        return [
            found.get(name)
            for name in (
                "CodeSha256",
                "MemorySize",
                "Timeout",
                "Role",
                "Environment",
                "Architectures",
            )
        ]

    def note(self, call: Call, status: int, body: bytes) -> bytes:
        """Keep what was done, and tell the states that moto leaves out."""
        if status >= 300 or _service(call) != "lambda":
            return body
        if call.operation in ("CreateFunction", "UpdateFunctionCode"):
            packed = call.json()
            packed = packed.get("ZipFile") or packed["Code"]["ZipFile"]
            self.zips[call.json().get("FunctionName", call.name), "$LATEST"] = base64.b64decode(
                packed
            )
        if call.operation in (
            "CreateFunction",
            "UpdateFunctionCode",
            "UpdateFunctionConfiguration",
        ):
            self.pending[call.json().get("FunctionName") or call.name] = PENDING_LOOKS
        if call.operation == "PublishVersion":
            answer = json.loads(body)
            self.published[call.name] = (self._state(call), answer)
            self.zips[call.name, answer["Version"]] = self.zips[call.name, "$LATEST"]
        if call.operation == "GetFunctionConfiguration" and self.pending.get(call.name):
            self.pending[call.name] -= 1
            return json.dumps(
                {**json.loads(body), "State": "Pending", "LastUpdateStatus": "InProgress"}
            ).encode()
        return body

    def forward(
        self, method: str, path: str, call: Call, body: bytes = b""
    ) -> tuple[int, Any, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.moto_port, timeout=60)
        headers = {
            name: value
            for name, value in call.headers.items()
            if name.lower() not in ("content-length", "connection")
        }
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        try:
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()


def _service(call: Call) -> str:
    scope = call.headers.get("Authorization", "").partition("Credential=")[2].split("/")
    return scope[3] if len(scope) > 3 else ""


def _check_zip(call: Call) -> None:
    body = call.json()
    packed = body.get("ZipFile") or body.get("Code", {}).get("ZipFile", "")
    try:
        zipfile.ZipFile(io.BytesIO(base64.b64decode(packed))).testzip()
    except zipfile.BadZipFile:
        raise FailureError(
            400, "InvalidParameterValueException", "Could not unzip uploaded file. Please check your file, then try to upload again.",
        ) from None  # fmt: skip


def _read(method: str, path: str, headers: Any, body: bytes) -> Call:
    target = headers.get("X-Amz-Target", "")
    if target:
        return Call(method, path, headers, body, target.rpartition(".")[2], "")
    route = path.partition("?")[0].rstrip("/")
    found = re.match(r"/\d{4}-\d\d-\d\d/functions(?:/([^/]+))?(.*)", unquote(route))
    if found is None:
        action = parse_qs(body.decode(errors="replace")).get("Action", [f"{method} {route}"])
        return Call(method, path, headers, body, action[0], "")
    name = found.group(1) or ""
    shape = f"{method} /functions{'/NAME' if name else ''}{found.group(2)}"
    return Call(method, path, headers, body, OPERATIONS.get(shape, shape), name)


def _handler(cloud: Cloud) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None: ...

        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            call = _read(self.command, self.path, self.headers, body)
            try:
                cloud.check(call)
                status, headers, content = cloud.instead(call) or cloud.forward(
                    self.command, self.path, call, body
                )
                content = cloud.note(call, status, content)
            except FailureError as failure:
                status, headers, content = _failed(call, failure)
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in (
                    "content-length",
                    "connection",
                    "transfer-encoding",
                    "date",
                    "server",
                ):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = _any  # noqa: N815 - what http.server calls them

    return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who asked has gone: boto keeps connections that it then lets go of."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def _failed(call: Call, failure: FailureError) -> tuple[int, dict[str, str], bytes]:
    if _service(call) == "sts":
        text = f"<ErrorResponse><Error><Type>Sender</Type><Code>{failure.code}</Code><Message>{failure.message}</Message></Error></ErrorResponse>"
        return failure.status, {"Content-Type": "text/xml"}, text.encode()
    told = {"Type": "User", "message": failure.message, "__type": failure.code}
    headers = {"x-amzn-ErrorType": failure.code, "Content-Type": "application/json"}
    return failure.status, headers, json.dumps(told).encode()


@contextmanager
def running_cloud(folder: Path, own_port: int = 0) -> Iterator[Cloud]:
    """`own_port`: where it answers; 0 finds one."""
    port = free_port()
    with (folder / "moto.log").open("wb") as log:
        moto = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=log,
            stderr=log,
        )
    cloud = Cloud(folder, port)
    server = _Server(("127.0.0.1", own_port), _handler(cloud))
    cloud.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        until(lambda: _answers(port), 60, "moto answers")
        _make_role(port)
        yield cloud
    finally:
        server.shutdown()
        server.server_close()
        moto.kill()
        moto.wait()


def _make_role(port: int) -> None:
    """What the functions run as; moto wants to know it."""
    iam = boto3.client(
        "iam",
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name="us-east-1",
        aws_access_key_id=KEY_ID,
        aws_secret_access_key=SECRET,
    )
    trusting = {
        "Effect": "Allow",
        "Action": "sts:AssumeRole",
        "Principal": {"Service": "lambda.amazonaws.com"},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [trusting]})
    iam.create_role(RoleName=ROLE.rpartition("/")[2], AssumeRolePolicyDocument=policy)


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/moto-api/data.json")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
