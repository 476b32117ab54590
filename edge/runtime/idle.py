"""What a cell uses while it does nothing: limits are counted from there."""

import contextlib
import http.client
import json
import os
import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from edge.runtime.binary import ENVIRONMENT, Runtime, RuntimeMissingError
from edge.runtime.config import (
    CONTROL_SOCKET,
    MAIN_SOCKET,
    PLATFORM_DATE,
    Build,
    cell_config,
)
from edge.runtime.sandbox import SERVE, Level, Sandbox
from edge.runtime.trial import UnixConnection, memory_file
from edge.spec import Module, Spec

START_SECONDS = 20.0
REST_LOOKS, REST_PAUSE_SECONDS = 10, 0.02
# A cell's folder, and an entrance's socket in it.
_ENTRANCE = rb"/c\d+/[0-9a-f]{12}\.sock\n"
PAGE_BYTES = os.sysconf("SC_PAGESIZE")


@dataclass(frozen=True)
class Idle:
    data_bytes: int
    """VmData: what RLIMIT_DATA counts. Most of it is address space that V8 reserves for code."""
    anonymous_bytes: int
    """Resident memory that belongs to no file."""
    sockets: int
    """Those it listens on, and what workerd has for itself."""


def anonymous_bytes(statm: bytes) -> int:
    """From /proc/PID/statm."""
    _, resident, shared, *_ = statm.split(maxsplit=3)
    return (int(resident) - int(shared)) * PAGE_BYTES


def entrance_connections(folder: str, sockets: str) -> int:
    """Connections of a sandboxed process to entrances of other cells, whose folders are in `sockets`.
    The accepted end is listed by its path in the namespace of the end that connected."""
    with open(f"{folder}/net/unix", "rb") as table:
        found = re.findall(rb" 03 +\d+ " + re.escape(sockets.encode()) + _ENTRANCE, table.read())
    return len(found)


def accepted_connections(folder: str, path: str) -> int:
    """Connections to the unix socket of that path, as a process without a network of its own sees them."""
    with open(f"{folder}/net/unix", "rb") as table:
        found = re.findall(
            rb" 03 +\d+ " + re.escape(path.encode()) + rb"$", table.read(), re.MULTILINE
        )
    return len(found)


def open_sockets(folder: str | Path) -> int:
    """How many a process has, from its folder in /proc. Descriptors would say less: workerd has two
    for each connection, and a cell without a sandbox has some more. Raises OSError when it is gone."""
    found = set()
    for entry in os.listdir(f"{folder}/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed this moment
            found.add(os.readlink(f"{folder}/fd/{entry}"))
    return sum(one.startswith("socket:") for one in found)


def idle_cell(runtime: Runtime, heap_mib: int, cache: Path) -> Idle:
    """Measured once per runtime, its environment and heap limit, then read from `cache`."""
    measured_with = {
        "runtime": runtime.version,
        "heap_mib": heap_mib,
        "command": list(SERVE),
        "environment": ENVIRONMENT,
    }
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        found = json.loads(cache.read_text())
        if found["measured_with"] == measured_with:
            return Idle(**found["idle"])
    idle = measure(runtime, heap_mib)
    draft = cache.with_suffix(".draft")
    draft.write_text(json.dumps({"measured_with": measured_with, "idle": asdict(idle)}))
    os.replace(draft, cache)
    return idle


def measure(runtime: Runtime, heap_mib: int) -> Idle:
    """Start a cell with an empty script and look at it. Raises RuntimeMissingError."""
    main = Module(name="index.js", type="esm", digest="empty")
    spec = Spec(
        syntax="modules",
        main_module=main.name,
        compatibility_date=PLATFORM_DATE,
        compatibility_flags=(),
        modules=(main,),
        bindings=(),
        version_id="idle",
        script_name="idle",
    )
    source = b"export default { fetch() { return new Response(); } };"
    build = Build(spec, {main.digest: source}, PLATFORM_DATE)
    config = cell_config(runtime, build, heap_mib)
    with (
        tempfile.TemporaryDirectory(prefix="skerry-idle-") as folder,
        _running(runtime, config, Path(folder)) as pid,
    ):
        try:
            for name in (MAIN_SOCKET, CONTROL_SOCKET):
                _ask(Path(folder) / name)
            return _look(pid)
        except (OSError, http.client.HTTPException) as error:
            raise RuntimeMissingError(f"The runtime does not start: {error!r}") from error


@contextlib.contextmanager
def _running(runtime: Runtime, config: bytes, folder: Path) -> Iterator[int]:
    with contextlib.ExitStack() as stack:
        config_fd = stack.enter_context(memory_file(config)).fileno()
        listeners: dict[str, int] = {}
        for name in (MAIN_SOCKET, CONTROL_SOCKET):
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(str(folder / name))
            listener.listen(8)
            listeners[name] = listener.fileno()
        # Without a sandbox: it adds nothing to what the process inside of it uses.
        bare = Sandbox(Level.NONE, runtime.workerd)
        process = subprocess.Popen(
            bare.serve(0, [], config_fd, *(f"--socket-fd={n}={fd}" for n, fd in listeners.items())),
            pass_fds=[config_fd, *listeners.values()],
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    # The listeners are the process's alone now: when it ends, whoever asks hears of it.
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


def _ask(path: Path) -> None:
    connection = UnixConnection(str(path), START_SECONDS)
    try:
        connection.request("GET", "/probe")
        connection.getresponse().read()
    finally:
        connection.close()


def _look(pid: int) -> Idle:
    folder = Path(f"/proc/{pid}")
    lines = (folder / "status").read_text().splitlines()
    (data,) = [line.split()[1] for line in lines if line.startswith("VmData:")]
    statm = (folder / "statm").read_bytes()
    return Idle(int(data) * 1024, anonymous_bytes(statm), _sockets_at_rest(folder))


def _sockets_at_rest(folder: Path) -> int:
    """What stays after the last connection was closed, which takes a moment."""
    fewest = open_sockets(folder)
    for _ in range(REST_LOOKS):
        time.sleep(REST_PAUSE_SECONDS)
        fewest = min(fewest, open_sockets(folder))
    return fewest
