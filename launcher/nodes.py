"""The edge nodes of this machine: an agent each, which starts its keeper, HAProxy and cells itself."""

import os
import socket
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from launcher import children, ports, started
from launcher.children import Program
from launcher.config import reachable
from launcher.errors import LauncherError
from launcher.paths import ROOT, DataDirectory, program_path
from launcher.programs import PYTHON, Instance, runtime_settings

# The agent drains its cells for a few seconds before it ends them.
STOP_SECONDS = 20.0
# Six times the interval at which a node pulls and reports.
AWAY_AFTER = timedelta(seconds=30)


def names(instance: Instance) -> list[str]:
    return ports.node_names(instance.config.nodes)


def enrolled(directory: Path) -> bool:
    """Whether the node has its credential already; the agent writes it."""
    return (directory / "credential.json").exists()


def agent(instance: Instance, name: str, join_token: str | None) -> Program:
    """The node's agent. What it starts lives on without it, and is adopted by the next one."""
    config, directory = instance.config, instance.data.node(name)
    since = datetime.now(UTC).replace(microsecond=0)
    join = ["--join", join_token] if join_token else []
    return Program(
        name=f"{name}-agent",
        command=[
            *PYTHON, "-m", "edge.agent",
            "--dir", str(directory),
            "--name", name,
            "--http-port", str(config.ports[f"{name}.http"]),
            "--https-port", str(config.ports[f"{name}.https"]),
            "--agent-port", str(config.ports[f"{name}.agent"]),
            "--bind", config.bind,
            # Also for a node that is enrolled: the gateway's port may have changed.
            "--control", instance.address(ports.GATEWAY, "https"),
            *join,
        ],
        environment={
            **runtime_settings(),
            "SKERRY_HAPROXY": program_path("haproxy") or "haproxy",
            "SKERRY_CERTIFICATE": os.environ.get("SKERRY_CERTIFICATE")
            or str(instance.data.certificate),
        },
        port=config.ports[f"{name}.http"],
        prepare=lambda: directory.mkdir(mode=0o700, parents=True, exist_ok=True),
        ready=lambda: acknowledged(instance, name, since),
    )  # fmt: skip


def stop(data: DataDirectory, directory: Path) -> "subprocess.Popen[bytes]":
    """Begin to end everything of a node: its cells are drained first."""
    with children.log_path(data, f"{directory.name}-agent").open("ab") as log:
        return subprocess.Popen(
            [*PYTHON, "-m", "edge.agent", "stop", "--dir", str(directory)],
            cwd=ROOT,
            env=children.environment(data, runtime_settings()),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


@dataclass(frozen=True)
class NodeStatus:
    """What the control plane knows of a node."""

    name: str
    state: str
    """current | behind | away (no report for a while)"""
    generation: int
    """What it should run."""
    reported_generation: int
    """What it says that it runs."""
    seen_at: str | None


def status(instance: Instance) -> list[NodeStatus]:
    """Every enrolled node, those on other machines too; LauncherError when the API does not answer."""
    return [
        NodeStatus(
            name=node["name"],
            state=_state(node),
            generation=node["generation"],
            reported_generation=node["reported_generation"],
            seen_at=node["seen_on"],
        )
        for node in started.call(instance, "/skerry/nodes?per_page=50")
    ]


def _state(node: dict[str, Any]) -> str:
    if not _seen_since(node, datetime.now(UTC) - AWAY_AFTER):
        return "away"
    return "current" if node["reported_generation"] >= node["generation"] else "behind"


def _seen_since(node: dict[str, Any], moment: datetime) -> bool:
    seen = node["seen_on"]
    return seen is not None and datetime.fromisoformat(seen) >= moment


def acknowledged(instance: Instance, name: str, since: datetime) -> bool:
    """Whether the node's front is open and the node reported, after `since`, all that it should run."""
    try:
        port = instance.config.ports[f"{name}.http"]
        with socket.create_connection(
            (reachable(instance.config.bind).strip("[]"), port), timeout=1.0
        ):
            pass
        known = started.call(instance, "/skerry/nodes?per_page=50")
    except (OSError, LauncherError):
        return False
    return any(
        node["name"] == name and _seen_since(node, since) and _state(node) == "current"
        for node in known
    )
