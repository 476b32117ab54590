"""`./skerry status`: every process of an instance, read from its records and from /proc."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from edge import proc
from launcher import config, instance_lock, nodes, processes, started
from launcher.errors import LauncherError
from launcher.paths import DataDirectory
from launcher.programs import Instance


@dataclass(frozen=True)
class ProcessStatus:
    """One supervised process."""

    name: str
    state: str
    """running | stopped"""
    pid: int
    port: int | None
    uptime_seconds: int
    memory_bytes: int
    restarts: int


@dataclass(frozen=True)
class InstanceStatus:
    """An instance as a whole."""

    data: str
    state: str
    """starting | running | stopping | stopped"""
    urls: dict[str, str]
    """Of what runs: dashboard, and live for scripts (with NAME in it); empty while it is stopped."""
    processes: list[ProcessStatus]
    nodes: list[nodes.NodeStatus]


def read(data: DataDirectory) -> InstanceStatus:
    supervisor = instance_lock.supervisor(data)
    running = instance_lock.read_record(data.state) if supervisor else {}
    state = running.get("state", "stopped")
    found = []
    if supervisor is not None:
        found.append(_describe("supervisor", supervisor, {}))
    for path in sorted(data.records.glob("*.json")):
        record = instance_lock.read_record(path)
        process = instance_lock.recorded(path)
        if record:
            found.append(_describe(path.stem, process, record))
    found += _of_nodes(data)
    found.sort(
        key=lambda process: (process.name != "supervisor", -process.uptime_seconds, process.name)
    )
    instance = Instance(config.load(data.config), data)
    urls, known = (_urls(instance, running), _nodes(instance)) if supervisor else ({}, [])
    return InstanceStatus(str(data.path), str(state), urls, found, known)


def _urls(instance: Instance, running: dict[str, str]) -> dict[str, str]:
    """What `up` was told in its environment, which is not that of this command."""
    try:
        host = started.any_hostname(instance, running["apps_domain"])
        return {"dashboard": running["dashboard"], "live": instance.origin(host)}
    except (LauncherError, LookupError, FileNotFoundError):
        return {}  # it is starting, or the API is not up: the table of processes says why


def _nodes(instance: Instance) -> list[nodes.NodeStatus]:
    try:
        return nodes.status(instance)
    except (LauncherError, LookupError, FileNotFoundError):
        return []  # the API is not up, or never was; the table of processes says why


def _describe(name: str, process: proc.Identity | None, record: dict[str, int]) -> ProcessStatus:
    return ProcessStatus(
        name=name,
        state="running" if process is not None else "stopped",
        pid=process.pid if process is not None else int(record.get("pid", 0)),
        port=record.get("port"),
        uptime_seconds=int(processes.age_seconds(process)) if process is not None else 0,
        memory_bytes=processes.memory_bytes(process) if process is not None else 0,
        restarts=int(record.get("restarts", 0)),
    )


def show(data: DataDirectory, *, as_json: bool) -> int:
    """Print the status; 0 while the instance runs, 3 when it does not (as systemctl does)."""
    found = read(data)
    print(json.dumps(asdict(found), indent=2) if as_json else table(found))
    return 0 if found.state == "running" else 3


def _of_nodes(data: DataDirectory) -> list[ProcessStatus]:
    """What the agents started, recognised as they do it themselves (edge/proc.py)."""
    folder = f"{data.path / 'nodes'}/"
    return [
        _describe(
            f"{Path(marks['SKERRY_NODE']).name}-{marks.get('SKERRY_ROLE', '').partition(':')[0]}",
            process,
            {},
        )
        for process, marks in proc.marked("SKERRY_NODE", lambda value: value.startswith(folder))
    ]


def table(found: InstanceStatus) -> str:
    """The status for people."""
    lines = [f"{found.data}: {found.state}"]
    lines += [f"  {name:<16}{url}" for name, url in found.urls.items()]
    if found.processes:
        lines.append(
            f"  {'PROCESS':<16}{'STATE':<10}{'PID':>8}{'PORT':>7}{'UPTIME':>10}{'MEMORY':>9}  RESTARTS"
        )
    lines += [
        f"  {process.name:<16}{process.state:<10}{process.pid:>8}{process.port or '':>7}"
        f"{duration(process.uptime_seconds):>10}{process.memory_bytes // 2**20:>6} MB  {process.restarts or ''}".rstrip()
        for process in found.processes
    ]
    if found.nodes:
        lines.append(f"  {'NODE':<16}{'STATE':<10}{'GENERATION':>10}{'REPORTED':>10}")
    lines += [
        f"  {node.name:<16}{node.state:<10}{node.generation:>10}{node.reported_generation:>10}"
        for node in found.nodes
    ]
    return "\n".join(lines)


def duration(seconds: int) -> str:
    """42 s, 3 min, 5 h, 12 d: one unit, rounded down."""
    for length, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
