"""Builds a cell's configuration as a binary Cap'n Proto message: values are data, never pasted text.

Whoever moves the pin compares `workerd.capnp` with what is used here.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from edge.runtime import messages
from edge.runtime.binary import Runtime
from edge.runtime.bindings import fill_bindings
from edge.runtime.schema import load
from edge.spec import Module, Spec, SpecError, text_of

# Request headers between the front and a cell. The front deletes whatever a visitor sends by them.
PROTO_HEADER = "x-skerry-proto"
CF_HEADER = "x-skerry-cf"
# Put on every answer that came out of the script; workerd's own 500 for a throw lacks it.
MARKER_HEADER = "x-skerry"

# Who sent a request into the egress, which takes them off again.
SCRIPT_HEADER = "x-skerry-script"
ACCOUNT_HEADER = "x-skerry-account"

MAIN_SOCKET = "main"
EGRESS_SOCKET = "egress"
CONTROL_SOCKET = "control"
PLATFORM_SERVICE = "skerry-platform"
DESCRIBE_SERVICE = "skerry-describe"
DESCRIBE_MODULE = "__skerry_describe__.js"
# What the platform's own workers run with; any date the pinned binary knows will do.
PLATFORM_DATE = "2026-11-01"

PLATFORM_FILES = Path(__file__).resolve().parents[1] / "cell"

_MODULE_FIELDS = {
    "esm": "esModule",
    "cjs": "commonJsModule",
    "text": "text",
    "json": "json",
    "data": "data",
    "wasm": "wasm",
}
_BYTES_TYPES = frozenset({"data", "wasm"})


@dataclass(frozen=True)
class Door:
    """The way out of a cell: a socket of the egress, and who is going out."""

    socket: str
    """Its path as the cell sees it."""
    account_id: str


@dataclass(frozen=True)
class Build:
    """A spec with its files and the date it runs with."""

    spec: Spec
    files: Mapping[str, bytes]
    """Content by digest."""
    compatibility_date: str
    egress: Door | None = None
    """None: no way out."""

    @property
    def service(self) -> str:
        classic = self.spec.syntax == "service-worker"
        return messages.CLASSIC_SERVICE if classic else messages.MODULES_SERVICE


def cell_config(runtime: Runtime, build: Build, heap_mib: int) -> bytes:
    """A cell: the script behind its main socket, the platform worker behind the control socket."""
    config = _schema(runtime.schema_dir).Config.new_message()
    config.logging.structuredLogging = True
    config.v8Flags = [f"--max-heap-size={heap_mib}"]
    services = config.init("services", 3)
    _internet(services[0], build)
    _script(services[1], build)
    _platform(services[2], build)
    sockets = config.init("sockets", 2)
    _front_socket(sockets[0], build)
    _socket(sockets[1], CONTROL_SOCKET, PLATFORM_SERVICE)
    return bytes(config.to_bytes())


def check_config(runtime: Runtime, build: Build) -> bytes:
    """A throw-away cell that starts the script as it is and beside it a worker that describes it."""
    config = _schema(runtime.schema_dir).Config.new_message()
    config.logging.structuredLogging = False
    modules = build.spec.syntax == "modules"
    services = config.init("services", 3 if modules else 2)
    _no_internet(services[0])
    _script(services[1], build)
    if modules:
        _describer(services[2], build)
    _socket(config.init("sockets", 1)[0], MAIN_SOCKET, services[len(services) - 1].name)
    return bytes(config.to_bytes())


def preview_config(runtime: Runtime, build: Build, heap_mib: int) -> bytes:
    """A throw-away cell that answers one request, and logs in lines of JSON as every cell does."""
    config = _schema(runtime.schema_dir).Config.new_message()
    config.logging.structuredLogging = True
    config.v8Flags = [f"--max-heap-size={heap_mib}"]
    services = config.init("services", 2)
    services[0].name = "internet"
    nowhere = services[0].init("worker")
    nowhere.compatibilityDate = PLATFORM_DATE
    module = nowhere.init("modules", 1)[0]
    module.name = "nowhere.js"
    module.esModule = (PLATFORM_FILES / "nowhere.js").read_text()
    _script(services[1], build)
    _front_socket(config.init("sockets", 1)[0], build)
    return bytes(config.to_bytes())


def egress_config(runtime: Runtime, allow: list[str], deny: list[str]) -> bytes:
    """Into the socket with a URL, out to that URL. Addresses are judged after the name's resolution:
    what is not public, not in `allow`, or in `deny` does not exist."""
    config = _schema(runtime.schema_dir).Config.new_message()
    config.logging.structuredLogging = True
    service = config.init("services", 1)[0]
    service.name = "internet"
    network = service.init("network")
    network.allow = ["public", *allow]
    network.deny = deny
    network.tlsOptions.trustBrowserCas = True
    socket = config.init("sockets", 1)[0]
    _socket(socket, EGRESS_SOCKET, service.name)
    socket.http.forwardedProtoHeader = PROTO_HEADER
    headers = socket.http.init("injectRequestHeaders", 2)
    headers[0].name, headers[1].name = SCRIPT_HEADER, ACCOUNT_HEADER  # no value: taken off
    return bytes(config.to_bytes())


def date_probe_config(runtime: Runtime, date: str) -> bytes:
    """The smallest config with a date: started only to hear what workerd says about the date."""
    config = _schema(runtime.schema_dir).Config.new_message()
    service = config.init("services", 1)[0]
    service.name = messages.MODULES_SERVICE
    worker = service.init("worker")
    worker.compatibilityDate = date
    worker.init("modules", 1)[0].name = "index.js"
    worker.modules[0].esModule = "export default {}"
    _socket(config.init("sockets", 1)[0], MAIN_SOCKET, service.name)
    return bytes(config.to_bytes())


@cache
def _schema(schema_dir: Path) -> ModuleType:
    return load(schema_dir / "workerd.capnp")


def _internet(service: Any, build: Build) -> None:
    """The way out is a socket: a cell has no network, and TLS is spoken on the other side."""
    if build.egress is None:
        _no_internet(service)
        return
    service.name = "internet"
    external = service.init("external")
    external.address = f"unix:{build.egress.socket}"
    http = external.init("http")
    http.forwardedProtoHeader = PROTO_HEADER
    headers = http.init("injectRequestHeaders", 2)
    headers[0].name, headers[0].value = SCRIPT_HEADER, build.spec.script_name
    headers[1].name, headers[1].value = ACCOUNT_HEADER, build.egress.account_id


def _no_internet(service: Any) -> None:
    service.name = "internet"
    service.init("network").allow = []


def _socket(socket: Any, name: str, service: str) -> None:
    """Sockets have no address: each is passed as a descriptor with `--socket-fd`."""
    socket.name = name
    socket.init("http")
    socket.service.name = service


def _front_socket(socket: Any, build: Build) -> None:
    """Where the script is asked, by whoever says what the visitor's scheme and `cf` were."""
    _socket(socket, MAIN_SOCKET, build.service)
    socket.http.forwardedProtoHeader = PROTO_HEADER
    socket.http.cfBlobHeader = CF_HEADER
    marker = socket.http.init("injectResponseHeaders", 1)[0]
    marker.name, marker.value = MARKER_HEADER, "1"


def _script(service: Any, build: Build) -> None:
    spec = build.spec
    main = [one for one in spec.modules if one.name == spec.main_module]
    if not main:
        raise SpecError(f'The main module "{spec.main_module}" is not among the uploaded modules.')
    service.name = build.service
    worker = service.init("worker")
    worker.compatibilityDate = build.compatibility_date
    worker.compatibilityFlags = list(spec.compatibility_flags)
    if spec.syntax == "service-worker":
        worker.serviceWorkerScript = text_of(main[0].name, build.files[main[0].digest])
    else:
        modules = main + [one for one in spec.modules if one is not main[0]]
        _modules(worker.init("modules", len(modules)), modules, build.files)
    fill_bindings(worker.init("bindings", len(build.spec.bindings)), build.spec, build.files)


def _modules(slots: Any, modules: list[Module], files: Mapping[str, bytes]) -> None:
    """Fill a list of modules; workerd takes its first one as the main module."""
    for index, module in enumerate(modules):
        content = files[module.digest]
        slots[index].name = module.name
        value = content if module.type in _BYTES_TYPES else text_of(module.name, content)
        setattr(slots[index], _MODULE_FIELDS[module.type], value)


def _platform(service: Any, build: Build) -> None:
    service.name = PLATFORM_SERVICE
    worker = service.init("worker")
    worker.compatibilityDate = PLATFORM_DATE
    module = worker.init("modules", 1)[0]
    module.name = "platform.js"
    module.esModule = (PLATFORM_FILES / "platform.js").read_text()
    bindings = worker.init("bindings", 2)
    bindings[0].name = "USER"
    bindings[0].init("service").name = build.service
    bindings[1].name = "VERSION_ID"
    bindings[1].text = build.spec.version_id


def _describer(service: Any, build: Build) -> None:
    """The script's modules once more, with a main module of ours that imports its main module."""
    service.name = DESCRIBE_SERVICE
    worker = service.init("worker")
    worker.compatibilityDate = build.compatibility_date
    worker.compatibilityFlags = list(build.spec.compatibility_flags)
    main = Module(name=DESCRIBE_MODULE, type="esm", digest="")
    source = (PLATFORM_FILES / "describe.js").read_text()
    path = json.dumps(f"./{build.spec.main_module.removeprefix('./')}")
    files = {**build.files, main.digest: source.replace('"./script.js"', path).encode()}
    modules = [main, *build.spec.modules]
    _modules(worker.init("modules", len(modules)), modules, files)
    fill_bindings(worker.init("bindings", len(build.spec.bindings)), build.spec, build.files)
