"""Where a cell runs: which user it is, what it can reach, and how its process is found in there."""

import asyncio
import contextlib
import json
import os
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from edge.agent.cells.limits import DESCRIPTORS
from edge.agent.cells.networks import AUTHORITIES, Networks, Plug, shown
from edge.agent.processes import NODE_VARIABLE, ROLE_VARIABLE, Process, readable
from edge.paths import NodePaths
from edge.proc import Identity
from edge.runtime.binary import ENVIRONMENT
from edge.runtime.config import Door
from edge.runtime.network import Network
from edge.runtime.sandbox import DOORS, Level, Sandbox, door_options

# What the node's network needs to be used.
_NAMES = ("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf")

# bubblewrap tells its child's pid as soon as it has forked.
INFO_SECONDS = 10.0

_OWN_VIEW = ("unshare", "--mount", "--propagation", "private", "/bin/sh", "-c")
_MOUNT = (
    'while [ "$1" != -- ]; do mount --bind "$1" "$2" || exit 1; shift 2; done; shift; exec "$@"'
)


class Reaches(Enum):
    """The network that a process has around it."""

    NOTHING = auto()
    OWN = auto()
    """One of its own, filtered: see networks.py."""
    NODES = auto()
    """The node's. No script's cell ever has it."""


@dataclass(frozen=True)
class Mount:
    """A folder of the node's that one cell sees."""

    source: Path
    inside: str
    writable: bool = False


@dataclass(frozen=True)
class Confinement:
    sandbox: Sandbox
    paths: NodePaths
    network: Network
    networks: Networks | None
    """None: no cell has a network of its own."""

    @property
    def summary(self) -> str:
        """Part of a cell's digest: another sandbox, another cell."""
        # Another network is no reason to exchange all cells: `adopt` tells of those that have one.
        own = self.network if self.sandbox.level is Level.NONE else self.networks is not None
        return f"{self.sandbox.level} {self._egress_path()} {own}"

    def door(self, account_id: str) -> Door:
        return Door(self._egress_path(), account_id, self._own_network())

    def _own_network(self) -> Network | None:
        """What a script that opens connections itself reaches: without a sandbox it has the node's
        network around it, and only workerd refuses addresses."""
        unconfined = self.sandbox.level is Level.NONE
        return self.network if self.networks or unconfined else None

    def adopt(self, process: Process) -> bool:
        """Look after what belongs to a cell that an earlier agent started; whether it is as it would
        be today."""
        return self.networks is None or self.networks.adopt(process)

    def shows_doors(self, process: Process) -> bool:
        """Whether a cell has the folder of what it may reach. One that was deleted and made anew is
        another folder: the cell still has the old one, which is empty."""
        if self.sandbox.level is Level.NONE:
            return True
        try:
            mounted = os.stat(f"/proc/{process.pid}/root{DOORS}")
        except OSError:
            return True  # it has ended
        return os.path.samestat(mounted, self.paths.doors.stat())

    def place(self, mount: Mount) -> str:
        """Where a cell finds the folder."""
        return str(mount.source) if self.sandbox.level is Level.NONE else mount.inside

    async def start(
        self,
        role: str,
        uid: int,
        config: int,
        listeners: dict[str, int],
        output: int,
        *,
        data_bytes: int,
        niceness: int,
        mounts: Sequence[Mount] = (),
        doors: bool = True,
        locks: Sequence[int] = (),
        reaches: Reaches = Reaches.NOTHING,
    ) -> Process:
        """Start workerd on these sockets; without `doors` and a network it can ask nobody. `locks` are
        descriptors that are open for as long as it lives. The process answered is workerd itself."""
        sockets = [f"--socket-fd={name}={listener}" for name, listener in listeners.items()]
        passed = [config, *listeners.values(), *locks]
        node = self.paths.root
        if self.sandbox.level is Level.NONE:
            command = self.sandbox.serve(uid, [], config, *sockets)
            return Process.start(
                command,
                node=node,
                role=role,
                pass_fds=passed,
                output=output,
                environ=ENVIRONMENT,
                descriptors=DESCRIPTORS,
                data_bytes=data_bytes,
                niceness=niceness,
                batch=True,
            )
        networks = self.networks if reaches is Reaches.OWN else None
        with networks.plug() if networks else nullcontext(Plug()) as plug:
            readable, writable = os.pipe()
            try:
                options = [*self._options(role, writable, doors), *self._mounted(mounts)]
                if reaches is Reaches.NODES:
                    options += ["--share-net", *shown((*_NAMES, *AUTHORITIES))]
                command = self.sandbox.serve(uid, [*options, *plug.options], config, *sockets)
                command = [*self._mounting(mounts), *command]
                process = Process.start(
                    command,
                    node=node,
                    role=f"sandbox:{role}",
                    pass_fds=[*passed, writable, *plug.descriptors],
                    output=output,
                    descriptors=DESCRIPTORS,
                    data_bytes=data_bytes,
                    niceness=niceness,
                    batch=True,
                )
            except OSError:
                os.close(readable)
                raise
            finally:
                os.close(writable)
            inner = await asyncio.to_thread(_inner, readable)
            if inner:
                process.contains(inner)
                if networks:
                    await networks.attach(process)
        return process

    def _options(self, role: str, info: int, doors: bool) -> Sequence[str]:
        return [
            *(door_options(self.paths.doors) if doors else ()),
            *("--info-fd", str(info)),
            # By these an agent that starts finds the cells of the one before it.
            *("--setenv", NODE_VARIABLE, str(self.paths.root), "--setenv", ROLE_VARIABLE, role),
        ]

    def _mounting(self, mounts: Sequence[Mount]) -> Sequence[str]:
        """Before the sandbox has a user of its own, whom NODE_DIR is closed to, the folders are
        mounted where it can come, in a view of the file system that only this process has."""
        if self.sandbox.level is not Level.FULL or not mounts:
            return []
        pairs = zip(mounts, self.paths.mount_points, strict=False)
        named = [str(path) for mount, point in pairs for path in (mount.source, point)]
        return [*_OWN_VIEW, _MOUNT, "sh", *named, "--"]

    def _mounted(self, mounts: Sequence[Mount]) -> Sequence[str]:
        full = self.sandbox.level is Level.FULL
        points = self.paths.mount_points if full else [mount.source for mount in mounts]
        return [
            argument
            for mount, point in zip(mounts, points, strict=False)
            for argument in (
                "--bind" if mount.writable else "--ro-bind",
                str(point),
                mount.inside,
            )
        ]

    def store_path(self, account_id: str, kind: str) -> str:
        """A store's socket as the account's cells see it."""
        path = self.paths.store_socket(account_id, kind)
        inside = Path(DOORS) / path.relative_to(self.paths.doors)
        return str(path if self.sandbox.level is Level.NONE else inside)

    def _egress_path(self) -> str:
        path = self.paths.egress_socket
        return str(path if self.sandbox.level is Level.NONE else Path(DOORS) / path.name)


def _inner(info: int) -> Identity | None:
    """The sandbox's first process, None when bubblewrap ended without one. Closes the pipe."""
    said = b""
    deadline = time.monotonic() + INFO_SECONDS
    with os.fdopen(info, "rb", buffering=0) as pipe:
        while b"}" not in said:
            left = max(deadline - time.monotonic(), 0)
            chunk = pipe.read(4096) if readable(info, left) else b""
            if not chunk:
                return None
            said += chunk
    with contextlib.suppress(ValueError, KeyError):
        return Identity.of(json.loads(said)["child-pid"])
    return None
