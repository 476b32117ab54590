"""What a node is told when it starts: arguments for what differs per node, SKERRY_… for the rest."""

import argparse
import ipaddress
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from edge.runtime.stores.cluster import Bucket, BucketError, read_bucket

# The most that HAProxy starts in one group.
HAPROXY_THREADS = 64
HIGHEST_PORT = 65_535

AGENT_VERSION = "0.1.0"


class SettingsError(ValueError):
    """A setting has a value that cannot be meant."""


@dataclass(frozen=True)
class Settings:
    directory: Path
    name: str
    bind: str
    http_port: int
    https_port: int
    agent_port: int
    door_port: int
    """Other nodes come here for scripts that run on this one alone; 0 takes any that is free."""
    advertise: str
    """URL by which the control plane reaches the agent."""
    control: str | None
    """URL of the control plane's gateway; kept on disk after the enrolment."""
    join_token: str | None
    stop_all_on_exit: bool

    haproxy: str
    slots: int
    """Scripts this node can serve; each is an empty backend of the front, 15 kB of memory."""
    front_connections: int
    front_threads: int
    """Threads of the front; connections that it keeps to a cell are looked after by one each."""
    pull_seconds: float
    """Time between two pulls; also the heartbeat."""
    drain_seconds: float
    """How long an old cell may finish open requests, WebSockets and streams after an exchange."""
    linger_seconds: float
    """How long an old cell must have done nothing until it ends: its answers may have left work
    behind (`waitUntil`)."""
    start_seconds: float
    """How long a new cell may take until it answers its probe."""
    cell_heap_mib: int
    """JavaScript heap of a cell."""
    cell_memory_mib: int
    """Memory of a cell's process beyond that of an idle one, heap and buffers together."""
    idle_seconds: float
    """A script without visitors for so long has no process until the next one comes; 0: it always
    has one. A script may have a setting of its own."""
    max_cells: int
    """Processes that a busy script may have side by side, unless it has a setting of its own."""
    cell_cpu_seconds: float
    """CPU a cell may use without letting anything else happen in it, unless its version asks for
    another limit."""
    cell_cpu_seconds_max: float
    """The most that a version may ask for."""
    script_records_second: int
    """Ordinary requests of a script that are recorded one by one in a second; those beyond are added up.
    0: none is."""
    spool_mib: int
    """Request records on the disk while the control plane is away; beyond it the oldest go."""
    log_spool_mib: int
    """As `spool_mib`, of stored logs."""
    store_memory_mib: int
    """As `cell_memory_mib`, of a store."""
    store_cpu_seconds: float
    """CPU that a store may use for one thing, a D1 query for example, without doing anything else."""
    cache_mib: int
    """What the Cache API of all scripts may keep on the disk; beyond it the least used goes."""
    d1_point_seconds: float
    """Time between two copies of a D1 database that changes; 0: only before an import and a restore,
    and when one is asked for."""
    d1_points: int
    """Copies that are kept of one database; beyond it the oldest go."""
    d1_points_mib: int
    """What all copies of one database may have together."""
    bucket: Bucket | None
    """Where all nodes keep the data of accounts; None keeps it on this node's disk."""
    egress_allow: tuple[str, ...]
    """Networks that scripts may reach although they are not public."""
    egress_authorities: tuple[str, ...]
    """Certificates (PEM) that outgoing TLS believes besides the system's."""
    function_authorities: str
    """As HAProxy reads it: who may sign the certificates of functions that answer in a script's place."""


def read_settings(arguments: list[str], environ: Mapping[str, str] = os.environ) -> Settings:
    """Raises SettingsError, or exits with argparse's message."""
    given = argument_parser().parse_args(arguments)
    _check_ports(given)
    advertise = given.advertise or f"https://{_reachable(given.bind)}:{given.agent_port}"
    try:
        bucket = read_bucket(environ, given.bind, advertise)
    except BucketError as error:
        raise SettingsError(str(error)) from error
    return Settings(
        directory=given.dir,
        name=given.name,
        bind=given.bind,
        http_port=given.http_port,
        https_port=given.https_port,
        agent_port=given.agent_port,
        door_port=given.door_port,
        advertise=advertise,
        bucket=bucket,
        control=given.control,
        join_token=given.join,
        stop_all_on_exit=given.stop_all_on_exit,
        haproxy=environ.get("SKERRY_HAPROXY", "haproxy"),
        slots=int(_number(environ, "SKERRY_SLOTS", 5000)),
        front_connections=int(_number(environ, "SKERRY_FRONT_CONNECTIONS", 10_000)),
        front_threads=_front_threads(environ),
        pull_seconds=_number(environ, "SKERRY_PULL_SECONDS", 5),
        drain_seconds=_number(environ, "SKERRY_DRAIN_SECONDS", 30),
        linger_seconds=_number(environ, "SKERRY_LINGER_SECONDS", 2),
        start_seconds=_number(environ, "SKERRY_START_SECONDS", 10),
        cell_heap_mib=int(_positive(environ, "SKERRY_CELL_HEAP_MIB", 128)),
        cell_memory_mib=int(_positive(environ, "SKERRY_CELL_MEMORY_MIB", 256)),
        idle_seconds=_number(environ, "SKERRY_IDLE_SECONDS", 300),
        max_cells=int(_positive(environ, "SKERRY_MAX_CELLS", half_of_the_cores())),
        cell_cpu_seconds=_positive(environ, "SKERRY_CELL_CPU_SECONDS", 2),
        cell_cpu_seconds_max=_positive(environ, "SKERRY_CELL_CPU_SECONDS_MAX", 30),
        script_records_second=int(_number(environ, "SKERRY_SCRIPT_RECORDS_SECOND", 200)),
        spool_mib=int(_positive(environ, "SKERRY_SPOOL_MIB", 64)),
        log_spool_mib=int(_positive(environ, "SKERRY_LOG_SPOOL_MIB", 64)),
        store_memory_mib=int(_positive(environ, "SKERRY_STORE_MEMORY_MIB", 512)),
        store_cpu_seconds=_positive(environ, "SKERRY_STORE_CPU_SECONDS", 30),
        cache_mib=int(_positive(environ, "SKERRY_CACHE_MIB", 512)),
        d1_point_seconds=_number(environ, "SKERRY_D1_POINT_SECONDS", 900),
        d1_points=int(_positive(environ, "SKERRY_D1_POINTS", 100)),
        d1_points_mib=int(_positive(environ, "SKERRY_D1_POINTS_MIB", 1024)),
        egress_allow=_networks(environ, "SKERRY_EGRESS_ALLOW"),
        egress_authorities=_certificates(environ, "SKERRY_EGRESS_AUTHORITIES"),
        function_authorities=_authorities(environ, "SKERRY_FUNCTION_AUTHORITIES"),
    )


def argument_parser() -> argparse.ArgumentParser:
    """What differs from node to node."""
    parser = argparse.ArgumentParser(
        prog="python -m edge.agent",
        description="A node: serves visitors on its HTTP and HTTPS ports, runs what the control plane decides.",
    )
    add = parser.add_argument
    add("--dir", required=True, type=Path, help="all state of the node (required)")
    add("--name", required=True, help="its name in the dashboard, given when it joins (required)")
    add(
        "--bind",
        default="127.0.0.1",
        metavar="ADDR",
        help="address to listen on (default: %(default)s)",
    )
    add("--http-port", required=True, type=int, metavar="N", help="scripts over HTTP (required)")
    add("--https-port", required=True, type=int, metavar="N", help="scripts over HTTPS (required)")
    add(
        "--agent-port",
        required=True,
        type=int,
        metavar="N",
        help="pushes of the control plane (required)",
    )
    add(
        "--door-port",
        default=0,
        type=int,
        metavar="N",
        help="visitors whom other nodes forward (default: any free port)",
    )
    add(
        "--advertise",
        metavar="URL",
        help="by which the control plane reaches the agent (default: --bind and --agent-port)",
    )
    add("--control", metavar="URL", help="the control plane's gateway; remembered")
    add("--join", metavar="TOKEN", help="join token, for the first start")
    add(
        "--stop-all-on-exit",
        action="store_true",
        help="end front and cells with the agent, as a container needs it; else they serve on",
    )
    return parser


def _check_ports(given: argparse.Namespace) -> None:
    flags: dict[int, str] = {}
    for name in ("http_port", "https_port", "agent_port", "door_port"):
        port, flag = getattr(given, name), f"--{name.replace('_', '-')}"
        lowest = 0 if name == "door_port" else 1
        if not lowest <= port <= HIGHEST_PORT:
            raise SettingsError(f"{flag} must be from {lowest} to {HIGHEST_PORT}, not {port}")
        if port and port in flags:
            raise SettingsError(f"{flags[port]} and {flag} must be different, not both {port}")
        flags[port] = flag


def half_of_the_cores() -> int:
    """How many processes a busy script gets, and how many threads the front: half of the cores, since each other
    and all other scripts need some, too. But two where there are two: one each left a tenth to a fifth of them
    idle under full load (measured: 19,300 requests/s with one thread, 20,300 with two)."""
    cores = os.cpu_count() or 1
    return max(cores // 2, min(cores, 2))


def _front_threads(environ: Mapping[str, str]) -> int:
    threads = int(
        _positive(environ, "SKERRY_FRONT_THREADS", min(half_of_the_cores(), HAPROXY_THREADS))
    )
    if not 1 <= threads <= HAPROXY_THREADS:
        raise SettingsError(f"SKERRY_FRONT_THREADS must be from 1 to {HAPROXY_THREADS}")
    return threads


def _reachable(bind: str) -> str:
    """An address to call for one to listen on; other machines need --advertise."""
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bind, bind)  # noqa: S104 a comparison
    return f"[{address}]" if ":" in address else address


def _positive(environ: Mapping[str, str], name: str, default: float) -> float:
    number = _number(environ, name, default)
    if number == 0:
        raise SettingsError(f"{name} must be more than 0")
    return number


def _networks(environ: Mapping[str, str], name: str) -> tuple[str, ...]:
    given = [text.strip() for text in environ.get(name, "").split(",") if text.strip()]
    try:
        return tuple(str(ipaddress.ip_network(text)) for text in given)
    except ValueError as error:
        raise SettingsError(f"{name} must be networks such as 10.1.0.0/16: {error}") from error


def _certificates(environ: Mapping[str, str], name: str) -> tuple[str, ...]:
    """Those in the PEM file that a setting names; none when it is not set."""
    if not environ.get(name):
        return ()
    path = Path(environ[name])
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"{name} must be a PEM file of certificates: {path}: {error}"
        ) from error
    return tuple(one.public_bytes(Encoding.PEM).decode() for one in found)


def _authorities(environ: Mapping[str, str], name: str) -> str:
    given = environ.get(name, "")
    if given and not Path(given).is_file():
        raise SettingsError(f"{name} must be a file of certificates (PEM)")
    return given or "@system-ca"


def _number(environ: Mapping[str, str], name: str, default: float) -> float:
    text = environ.get(name, "")
    try:
        number = float(text) if text else float(default)
    except ValueError as error:
        raise SettingsError(f"{name} must be a number, not {text!r}") from error
    if not math.isfinite(number):
        raise SettingsError(f"{name} must be a number, not {text!r}")
    if number < 0:
        raise SettingsError(f"{name} must not be negative")
    return number
