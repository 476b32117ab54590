"""Builds a cell's configuration as a binary Cap'n Proto message: values are data, never pasted text.

Whoever moves the pin compares `workerd.capnp` with what is used here.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

from edge.runtime import caching, callees, messages, objects, operations, points, workflows
from edge.runtime.binary import Runtime
from edge.runtime.bindings import ASSETS_SERVICE, INTERNET, extend, fill_bindings
from edge.runtime.callees import Entrance, Kind, Reach, callees_of
from edge.runtime.network import Network, dials
from edge.runtime.reach import SCRIPT_ID_HEADER, STORE_HEADER, Reached, StoreDoor, reached_stores
from edge.runtime.schema import load
from edge.runtime.ways import Way
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
# Its main module first.
PLATFORM_MODULES = ("platform.js", "cloning.js", "subrequests.js")
RANGES_SERVICE = "skerry-ranges"
DESCRIBE_SERVICE = "skerry-describe"
THROWN_SERVICE = "skerry-thrown"
UNCACHED_SERVICE = "skerry-uncached"
DESCRIBE_MODULE = "__skerry_describe__.js"
# Lets the runtime stream what a script does while it does it.
STREAMED = "streaming_tail_worker"
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


class Telling(StrEnum):
    INVOCATIONS = "tailed"
    """What each printed and threw, when it has ended."""
    SUBREQUESTS = "streamed"
    """And what it asked of others."""


@dataclass(frozen=True)
class Door:
    """The way out of a cell: a socket of the egress, and who is going out."""

    socket: str
    """Its path as the cell sees it."""
    account_id: str
    network: Network | None = None
    """What a script that opens connections itself reaches without the egress; None: it uses that."""


@dataclass(frozen=True)
class Build:
    """A spec with its files and the date it runs with."""

    spec: Spec
    files: Mapping[str, bytes]
    """Content by digest."""
    compatibility_date: str
    egress: Door | None = None
    """None: no way out."""
    assets_folder: str = ""
    """Where the cell finds the files of `spec.assets`."""
    assets_ranged: bool = False
    """Whether visitors may ask for parts of those files; costs each request a hop."""
    tells: frozenset[Telling] = frozenset()
    """What the platform worker hears."""
    stores: Mapping[str, StoreDoor] = field(default_factory=dict)
    """By kind. Where there is none, bindings lead where the internet leads, which is nowhere then."""
    cache: str = ""
    """The service of the Cache API; empty: it throws."""
    script_id: str = ""
    owned_folder: str = ""
    """Where the cell finds what only it may open. Empty: it is in memory and gone with the process."""

    entrances: tuple[Entrance, ...] = ()
    """The ways into the script that others bind."""
    reaches: tuple[Reach, ...] = ()
    """The scripts that it may call."""
    counted: bool = False
    """Whether it says what its Durable Objects read and write."""

    @property
    def network(self) -> Network | None:
        """The network that the cell reaches itself."""
        door = self.egress
        return door.network if door and dials(self.spec, self.files) else None

    @property
    def service(self) -> str:
        """The script, or what stands in for it where there is none."""
        if not self.spec.main_module:
            return ASSETS_SERVICE if self.spec.assets else INTERNET
        classic = self.spec.syntax == "service-worker"
        return messages.CLASSIC_SERVICE if classic else messages.MODULES_SERVICE

    def way_in(self, entrance: Entrance) -> Way:
        """Whom another script's call reaches first."""
        match entrance.kind:
            case Kind.OBJECTS:
                return objects.gate_way(entrance.entrypoint)
            case Kind.WORKFLOW:
                return workflows.way_in(self.spec, entrance.entrypoint)
        service = self.service if entrance.entrypoint else self.entrance
        return Way(service, entrance.entrypoint, entrance.props)

    def entered(self, kind: Kind) -> list[str]:
        """The classes, or the workflows, that other scripts bind."""
        return [one.entrypoint for one in self.entrances if one.kind is kind]

    @property
    def entrance(self) -> str:
        """Whom a visitor's request reaches first."""
        if self.assets_ranged:
            return RANGES_SERVICE
        return ASSETS_SERVICE if self.spec.assets else self.service


def cell_config(runtime: Runtime, build: Build, heap_mib: int) -> bytes:
    """A cell: the script behind its main socket, the platform worker behind the control socket."""
    config = new_config(runtime, heap_mib)
    build = replace(build, counted=operations.are_counted(build.spec))
    stores = _reached(build)
    if door := build.stores.get(caching.KIND):
        build = replace(build, cache=caching.SERVICE)
        stores.append(partial(_cache, caching.reached_cache(door, build.script_id)))
    if build.owned_folder:
        stores.append(_owned_disk)
    _services(config, build, _internet, *_own_services(build), _platform, *stores)
    extend(config)
    sockets = config.init("sockets", 2 + len(build.entrances))
    _front_socket(sockets[0], build)
    add_socket(sockets[1], CONTROL_SOCKET, PLATFORM_SERVICE)
    for number, entrance in enumerate(build.entrances, 2):
        callees.fill_socket(sockets[number], entrance, build.way_in(entrance))
        _mark(sockets[number])
    return bytes(config.to_bytes())


def new_config(runtime: Runtime, heap_mib: int) -> Any:
    """The beginning of a configuration that runs JavaScript: logs in lines of JSON."""
    config = _schema(runtime.schema_dir).Config.new_message()
    config.logging.structuredLogging = True
    config.v8Flags = heap_flags(heap_mib)
    return config


def heap_flags(heap_mib: int) -> list[str]:
    """V8's options for a heap of so many MiB.

    The runtime's part of a request, kilobytes outside of the heap, lives until V8 looks through the whole heap:
    a small collection takes it for alive and copies what it belongs to. By default V8 looks for the first time
    at some 32 MiB (`--trace-gc`). A hello world so had 280 MiB at its peak, stood still for 90 ms, and ended on
    a fast machine at the limit of its memory. With these (measured at 23,000
    requests/s): 142 MiB, 35 ms, and 7 % more requests. A young generation of 1 or 2 MiB takes even less, but a
    script that makes many objects then did half as much. What they cost: the runtime compiles its own scripts at
    each start, 25 instead of 22 ms, and says so (`messages.CACHE_REFUSED`).
    """
    young_mib = max(min(heap_mib // 32, 4), 1)
    return [
        f"--max-heap-size={heap_mib}",
        f"--max-semi-space-size={young_mib}",
        "--initial-old-space-size=4",
    ]


def check_config(runtime: Runtime, build: Build) -> bytes:
    """A throw-away cell that starts the script as it is and beside it a worker that describes it."""
    config = _schema(runtime.schema_dir).Config.new_message()
    config.logging.structuredLogging = False
    described = build.spec.syntax == "modules" and bool(build.spec.main_module)
    describers = [_describer] if described else []
    disk = [_owned_disk] if build.owned_folder else []
    _services(config, build, _no_internet, *_own_services(build), *describers, *disk)
    extend(config)
    answering = DESCRIBE_SERVICE if described else build.service
    add_socket(config.init("sockets", 1)[0], MAIN_SOCKET, answering)
    return bytes(config.to_bytes())


def preview_config(runtime: Runtime, build: Build, heap_mib: int) -> bytes:
    """A throw-away cell that answers one request, and logs in lines of JSON as every cell does."""
    config = new_config(runtime, heap_mib)
    build = replace(build, cache=UNCACHED_SERVICE)
    disk = [_owned_disk] if build.owned_folder else []
    _services(config, build, _nowhere, *_own_services(build), _thrown, _uncached, *disk)
    extend(config)
    if build.spec.main_module:
        (script,) = (one for one in config.services if one.name == build.service)
        script.worker.init("tails", 1)[0].name = THROWN_SERVICE
    _front_socket(config.init("sockets", 1)[0], build)
    return bytes(config.to_bytes())


def egress_config(runtime: Runtime, network: Network) -> bytes:
    """Into the socket with a URL, out to that URL."""
    config = _schema(runtime.schema_dir).Config.new_message()
    config.logging.structuredLogging = True
    service = config.init("services", 1)[0]
    service.name = INTERNET
    network.fill(service)
    socket = config.init("sockets", 1)[0]
    add_socket(socket, EGRESS_SOCKET, service.name)
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
    add_socket(config.init("sockets", 1)[0], MAIN_SOCKET, service.name)
    return bytes(config.to_bytes())


@cache
def _schema(schema_dir: Path) -> ModuleType:
    return load(schema_dir / "workerd.capnp")


def _services(config: Any, build: Build, *fill: Callable[[Any, Build], None]) -> None:
    services = config.init("services", len(fill))
    for service, filling in zip(services, fill, strict=True):
        filling(service, build)


def _own_services(build: Build) -> Iterator[Callable[[Any, Build], None]]:
    """What the version is made of: its script, its files, or both."""
    if build.spec.main_module:
        yield _script
    if build.spec.assets:
        yield _assets
    if build.assets_ranged:
        yield _ranges
    yield from _beside(build)


def _beside(build: Build) -> Iterator[Callable[[Any, Build], None]]:
    """Workers of ours for what it binds, and for what others bind of it."""
    if points.writes_points(build.spec):
        yield _points
    for number, namespace_id in objects.ids_of_others(build.spec):
        yield partial(_ids, number, namespace_id)
    if build.entered(Kind.OBJECTS):
        yield _gate
    if build.spec.workflows:
        yield _workflow_engine
    if workflows.binds_workflows(build.spec) or build.entered(Kind.WORKFLOW):
        yield _workflow_desk


def _reached(build: Build) -> list[Callable[[Any, Build], None]]:
    """What is outside of the cell."""
    stores: list[Callable[[Any, Build], None]] = [
        partial(_store, reached) for reached in reached_stores(build.spec, build.stores)
    ]
    called = [reach for reach in build.reaches if reach.socket]
    return stores + [partial(_callee, one, turn) for one in called for turn in range(callees.TURNS)]


def _callee(reach: Reach, turn: int, service: Any, build: Build) -> None:
    del build
    callees.fill_external(service, reach, turn)


def _store(reached: Reached, service: Any, build: Build) -> None:
    """One binding's way to its data: the headers say which and whose, and no script can change them."""
    service.name = reached.service
    external = service.init("external")
    external.address = f"unix:{reached.socket}"
    headers = external.init("http").init("injectRequestHeaders", 2)
    headers[0].name, headers[0].value = STORE_HEADER, reached.ticket
    headers[1].name, headers[1].value = SCRIPT_ID_HEADER, build.script_id


def _cache(reached: Reached, service: Any, build: Build) -> None:
    del build
    caching.fill_service(service, reached, PROTO_HEADER)


def _owned_disk(service: Any, build: Build) -> None:
    objects.fill_disk(service, build.owned_folder)


def _assets(service: Any, build: Build) -> None:
    """workerd's own server of static files, in front of the script."""
    if build.spec.assets is None:
        raise SpecError("This version has no static assets.")
    service.name = ASSETS_SERVICE
    assets = service.init("assets")
    assets.path = build.assets_folder
    assets.config = json.dumps(build.spec.assets.config)
    if build.spec.main_module:
        assets.userWorker.name = build.service
    else:
        assets.compatibilityDate = build.compatibility_date
        assets.compatibilityFlags = list(build.spec.compatibility_flags)


def _points(service: Any, build: Build) -> None:
    del build
    points.fill_service(service, _own_worker)


def _ids(number: int, namespace_id: str, service: Any, build: Build) -> None:
    del build
    objects.fill_ids(service, number, namespace_id, _own_worker)


def _gate(service: Any, build: Build) -> None:
    objects.fill_gate(service, build.spec, build.entered(Kind.OBJECTS), _own_worker)


def _workflow_engine(service: Any, build: Build) -> None:
    workflows.fill_engine(service, build.spec)


def _workflow_desk(service: Any, build: Build) -> None:
    workflows.fill_desk(service, build.spec, _own_worker)


def _ranges(service: Any, build: Build) -> None:
    del build
    service.name = RANGES_SERVICE
    worker = _own_worker(service, "ranges.js")
    binding = worker.init("bindings", 1)[0]
    binding.name = "NEXT"
    binding.init("service").name = ASSETS_SERVICE


def _own_worker(service: Any, *files: str) -> Any:
    """A worker of the platform's, its main module first."""
    worker = service.init("worker")
    worker.compatibilityDate = PLATFORM_DATE
    for module, file in zip(worker.init("modules", len(files)), files, strict=True):
        module.name = file
        module.esModule = (PLATFORM_FILES / file).read_text()
    return worker


def _nowhere(service: Any, build: Build) -> None:
    del build
    service.name = INTERNET
    _own_worker(service, "nowhere.js")


def _thrown(service: Any, build: Build) -> None:
    del build
    service.name = THROWN_SERVICE
    _own_worker(service, "thrown.js")


def _uncached(service: Any, build: Build) -> None:
    del build
    service.name = UNCACHED_SERVICE
    _own_worker(service, "uncached.js")


def _internet(service: Any, build: Build) -> None:
    """The way out is a socket: a cell has no network, and TLS is spoken on the other side. A script
    that opens connections itself has a network, because there TLS does not cross a socket."""
    if build.egress is None:
        _no_internet(service, build)
        return
    service.name = INTERNET
    if network := build.network:
        network.fill(service)
        return
    external = service.init("external")
    external.address = f"unix:{build.egress.socket}"
    http = external.init("http")
    http.forwardedProtoHeader = PROTO_HEADER
    headers = http.init("injectRequestHeaders", 2)
    headers[0].name, headers[0].value = SCRIPT_HEADER, build.spec.script_name
    headers[1].name, headers[1].value = ACCOUNT_HEADER, build.egress.account_id


def _no_internet(service: Any, build: Build) -> None:
    del build
    no_internet(service)


def no_internet(service: Any) -> None:
    service.name = INTERNET
    service.init("network").allow = []


def add_socket(socket: Any, name: str, service: str) -> None:
    """Sockets have no address: each is passed as a descriptor with `--socket-fd`."""
    socket.name = name
    socket.init("http")
    socket.service.name = service


def _front_socket(socket: Any, build: Build) -> None:
    """Where the script is asked, by whoever says what the visitor's scheme and `cf` were."""
    add_socket(socket, MAIN_SOCKET, build.entrance)
    socket.http.forwardedProtoHeader = PROTO_HEADER
    socket.http.cfBlobHeader = CF_HEADER
    _mark(socket)


def _mark(socket: Any) -> None:
    """Every answer that comes out of the script says so."""
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
    worker.compatibilityFlags = [*spec.compatibility_flags, *_streamed(build)]
    if spec.syntax == "service-worker":
        worker.serviceWorkerScript = text_of(main[0].name, build.files[main[0].digest])
    else:
        modules = main + [one for one in spec.modules if one is not main[0]]
        ours = operations.modules(spec, bool(build.tells)) if build.counted else []
        slots = list(worker.init("modules", len(ours) + len(modules)))
        for slot, (name, text) in zip(slots, ours, strict=False):
            slot.name, slot.esModule = name, text
        _modules(slots[len(ours) :], modules, build.files)
    _bindings(worker, build)
    if build.cache:
        worker.cacheApiOutbound.name = build.cache
    objects.add_objects(worker, spec, on_disk=bool(build.owned_folder))
    workflows.add_workflows(worker, spec)
    if Telling.INVOCATIONS in build.tells:
        worker.init("tails", 1)[0].name = PLATFORM_SERVICE
    if Telling.SUBREQUESTS in build.tells:
        worker.init("streamingTails", 1)[0].name = PLATFORM_SERVICE


def _streamed(build: Build) -> Sequence[str]:
    """A flag that every script has that is streamed, whatever it says itself."""
    return [STREAMED] if Telling.SUBREQUESTS in build.tells else []


def _bindings(worker: Any, build: Build) -> None:
    slots = worker.init("bindings", len(build.spec.bindings))
    reached = reached_stores(build.spec, build.stores)
    services = {one.binding: one.service for one in reached}
    fill_bindings(slots, build.spec, build.files, services)
    reaches = {reach.callee.number: reach for reach in build.reaches}
    for callee in callees_of([one.as_callee() for one in build.spec.bindings]):
        reach = reaches.get(callee.number)
        callees.fill_binding(
            slots[callee.number],
            callee,
            callees.way_to(reach, PLATFORM_SERVICE)
            if reach
            else callees.lone_way(callee, build.spec.script_name, build.way_in),
        )


def _modules(slots: Any, modules: list[Module], files: Mapping[str, bytes]) -> None:
    """Fill a list of modules; workerd takes its first one as the main module."""
    for index, module in enumerate(modules):
        content = files[module.digest]
        slots[index].name = module.name
        value = content if module.type in _BYTES_TYPES else text_of(module.name, content)
        setattr(slots[index], _MODULE_FIELDS[module.type], value)


def _platform(service: Any, build: Build) -> None:
    passing = callees.platform_bindings(build.reaches, build.way_in)
    called = [one for one in build.entrances if one.kind is Kind.SCRIPT]
    passing += [callees.enter(one, build.way_in(one)) for one in called]
    if build.spec.workflows:
        passing.append(workflows.bind_desk)
    add_platform(service, build.service, build.spec.version_id, passing)


def add_platform(
    service: Any, beside: str, version_id: str, more: Sequence[Callable[[Any], None]] = ()
) -> None:
    """The worker of ours beside a service: its probe answers the version."""
    service.name = PLATFORM_SERVICE
    worker = _own_worker(service, *PLATFORM_MODULES)
    # Lets it deliver scheduled events; one reason why cells run with --experimental.
    worker.compatibilityFlags = ["service_binding_extra_handlers"]
    bindings = worker.init("bindings", 2 + len(more))
    for number, fill in enumerate(more, 2):
        fill(bindings[number])
    bindings[0].name = "USER"
    bindings[0].init("service").name = beside
    bindings[1].name = "VERSION_ID"
    bindings[1].text = version_id


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
    _bindings(worker, build)
