"""A network of its own for a cell that opens connections itself (`cloudflare:sockets`, `node:net`, `node:tls`).

The sandbox's network namespace is empty. slirp4netns, a TCP/IP stack in a process without privileges, is put
into it as the only device; before that nftables in the same namespace refuses what is not public, so
that even who breaks out of JavaScript reaches no more than the script may. Only who owns the namespace could change
the rules, and nothing in the sandbox has a capability. This is the second wall: workerd itself judges addresses first.
"""

import asyncio
import hashlib
import ipaddress
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from edge.agent.background import Background
from edge.agent.processes import Process, node_processes, readable
from edge.proc import environment
from edge.runtime.network import Network, missing
from edge.runtime.sandbox import Level
from edge.runtime.trial import memory_file

ROLE = "network:"
# In the environment of a cell that has one, and says which: an agent that starts sees to it.
VARIABLE = "SKERRY_NETWORK"

# Nobody's (RFC 2544): where the cell and its resolver are.
INSIDE = "198.18.0.0/24"
NODES_LOOPBACK, RESOLVER = "198.18.0.2", "198.18.0.3"
READY_SECONDS = 5.0
# One that lived this long is started again at once, one that cannot start only this often.
STEADY_SECONDS = 5.0
RETRY_SECONDS = 1.0
HOSTS = Path("/etc/hosts")
# Where distributions keep the certificates of the authorities that the system believes.
AUTHORITIES = ("/etc/ssl/certs", "/usr/share/ca-certificates", "/etc/pki")

# What the Internet does not route (RFC 6890), as workerd's `public` has it.
NOT_PUBLIC = (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
    "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
    "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
)  # fmt: skip

log: structlog.stdlib.BoundLogger = structlog.get_logger()


def find_networks(
    level: Level, node: Path, network: Network, background: Background
) -> "Networks | None":
    """None, and a line in the log, where cells cannot have a network of their own."""
    lacking = missing(level)
    if lacking:
        log.warning("cells_without_networks", reason=lacking)
        return None
    return Networks(node, network, background)


@dataclass(frozen=True)
class Plug:
    """How a sandbox waits for its network."""

    options: Sequence[str] = ()
    """bubblewrap's."""
    descriptors: Sequence[int] = ()
    """They belong to those options."""


class Networks:
    """Raises OSError where a cell cannot be given one."""

    def __init__(self, node: Path, network: Network, background: Background) -> None:
        self._node = node
        self._network = network
        self._background = background
        self._devices: set[Process] = set()

    @contextmanager
    def plug(self) -> Iterator[Plug]:
        """For a sandbox that begins within the block, and not before the end of it."""
        with ExitStack() as stack:
            waits, goes = os.pipe()
            stack.callback(os.close, waits)
            stack.callback(os.close, goes)  # bubblewrap reads the end of it, and goes on
            options = ["--block-fd", str(waits), "--setenv", VARIABLE, self._mark]
            descriptors = [waits]
            for path, content in self._files().items():
                file = stack.enter_context(memory_file(content)).fileno()
                descriptors.append(file)
                options += ["--ro-bind-data", str(file), path]
            options += shown(AUTHORITIES)
            yield Plug(options, descriptors)

    def _files(self) -> dict[str, bytes]:
        """What the sandbox has in /etc, by path. Of the node's own names it has those that lead to
        what the operator allows."""
        return {
            "/etc/resolv.conf": f"nameserver {RESOLVER}\n".encode(),
            "/etc/hosts": "".join(f"{line}\n" for line in self._hosts()).encode(),
        }

    def _hosts(self) -> Iterator[str]:
        allowed = [ipaddress.ip_network(one) for one in self._network.allow]
        try:
            lines = HOSTS.read_text().splitlines()
        except OSError:
            return
        for line in lines:
            words = line.partition("#")[0].split()
            try:
                address = ipaddress.ip_address(words[0])
            except (ValueError, IndexError):
                continue
            if any(address in network for network in allowed):
                yield " ".join(words)

    async def attach(self, cell: Process) -> None:
        """Let a cell that waits reach its network, until it ends; one that cannot is killed."""
        try:
            self._keep(cell, await self._start(cell))
        except BaseException:
            cell.send(signal.SIGKILL)
            raise

    def adopt(self, cell: Process) -> bool:
        """Go on with what an earlier agent attached, or attach what is missing. False when the cell
        was started for another network, and should be exchanged."""
        mark = environment(cell.pid).get(VARIABLE)
        if mark is None:
            return True
        found = [one for one, role in node_processes(self._node) if role == _role(cell)]
        self._keep(cell, Process.adopt(found[0]) if found else None)
        return mark == self._mark

    @property
    def _mark(self) -> str:
        return hashlib.sha256(repr(self._network).encode()).hexdigest()[:16]

    def pids(self) -> set[int]:
        """The processes behind the networks of cells."""
        return {device.pid for device in self._devices}

    def forget(self) -> None:
        """Let them go on without the agent."""
        for device in self._devices:
            device.forget()
        self._devices.clear()

    def rules(self) -> str:
        """nftables' rules for what leaves a cell (nft(8)), in the place of those before; the first that
        fits decides."""
        denied = _set(self._network.deny)
        allowed = _set(self._network.allow)
        lines = [
            "meta nfproto ipv6 reject",
            "ct state established,related accept",
            f"ip daddr {RESOLVER} meta l4proto {{ tcp, udp }} th dport 53 accept",
            f"ip daddr {denied} reject with icmp type admin-prohibited" if denied else "",
            f"ip daddr {allowed} meta l4proto tcp accept" if allowed else "",
            f"ip daddr {_set(NOT_PUBLIC)} reject with icmp type admin-prohibited",
            "meta l4proto tcp accept",
            "reject",
        ]
        if self._loopback:
            lines.insert(2, f"ip daddr {NODES_LOOPBACK} meta l4proto tcp accept")
        chains = [_chain("output", "filter hook output priority 0; policy drop;", lines)]
        if self._loopback:
            # The cell's own loopback has nobody: what goes there goes to the node's.
            there = [f"ip daddr 127.0.0.1 meta l4proto tcp dnat ip to {NODES_LOOPBACK}"]
            chains.append(_chain("there", "nat hook output priority -100;", there))
            back = [f"ip daddr {NODES_LOOPBACK} masquerade"]
            chains.append(_chain("back", "nat hook postrouting priority 100;", back))
        table = "table inet skerry"
        return f"{table}\ndelete {table}\n{table} {{\n{''.join(chains)}}}\n"

    @property
    def _loopback(self) -> bool:
        """Whether the operator lets scripts reach the node's own loopback."""
        home = ipaddress.ip_address("127.0.0.1")
        return any(home in ipaddress.ip_network(one) for one in self._network.allow)

    def _keep(self, cell: Process, device: Process | None) -> None:
        if device:
            self._devices.add(device)
        self._background.run(self._watch(cell, device), f"network of {cell.pid}")

    async def _watch(self, cell: Process, device: Process | None) -> None:
        """Start the device again whenever it ends, and end it with its cell."""
        while not cell.ended:
            if device is None:
                try:
                    device = await self._start(cell)
                except OSError as error:
                    log.warning("network_start_failed", pid=cell.pid, reason=str(error))
                    await asyncio.sleep(RETRY_SECONDS)
                    continue
                self._devices.add(device)
            began = time.monotonic()
            ends = [asyncio.create_task(one.wait()) for one in (cell, device)]
            try:
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for end in ends:
                    end.cancel()
            if device.ended and not cell.ended:
                log.warning("network_died", pid=cell.pid)
                self._devices.discard(device)
                device = None
                if time.monotonic() - began < STEADY_SECONDS:
                    await asyncio.sleep(RETRY_SECONDS)
        if device:
            self._devices.discard(device)
            await device.end(signal.SIGTERM, RETRY_SECONDS)

    async def _start(self, cell: Process) -> Process:
        """The rules first: an agent that ended may have left a cell without."""
        reading, writable = os.pipe()
        try:
            with open(f"/proc/{cell.pid}/ns/net", "rb") as namespace:  # noqa: ASYNC230 nothing to wait for
                await asyncio.to_thread(
                    _refuse_the_rest, namespace.fileno(), self.rules(), self._loopback
                )
                device = Process.start(
                    [
                        *("slirp4netns", "--configure", "--mtu=65520", f"--cidr={INSIDE}"),
                        *("--enable-sandbox", "--enable-seccomp"),
                        *(() if self._loopback else ("--disable-host-loopback",)),
                        *("--netns-type=path", f"--ready-fd={writable}"),
                        *(f"/proc/self/fd/{namespace.fileno()}", "tap0"),
                    ],
                    node=self._node,
                    role=_role(cell),
                    pass_fds=[namespace.fileno(), writable],
                    environ={"PATH": os.environ.get("PATH", os.defpath)},
                )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writable)
        if not await asyncio.to_thread(_says_ready, reading):
            await device.end(signal.SIGKILL)
            raise OSError("slirp4netns does not start")
        return device


def shown(paths: Sequence[str]) -> list[str]:
    """bubblewrap's options that show the node's own files, as far as they exist."""
    return [word for path in paths for word in ("--ro-bind-try", path, path)]


def _role(cell: Process) -> str:
    return f"{ROLE}{cell.pid}:{cell.identity.started}"


def _set(networks: Sequence[str]) -> str:
    """The IPv4 ones among them as nftables writes a set; empty when there is none."""
    found = [ipaddress.ip_network(one) for one in networks]
    four = [one for one in found if isinstance(one, ipaddress.IPv4Network)]
    if not four:
        return ""
    return "{ " + ", ".join(str(one) for one in ipaddress.collapse_addresses(four)) + " }"


def _chain(name: str, kind: str, lines: Sequence[str]) -> str:
    body = "\n".join(line for line in lines if line)
    return f"chain {name} {{ type {kind}\n{body}\n}}\n"


# Without the second the kernel drops what goes from a loopback to another device.
_RULES = """\
nft -f - && if [ "$1" ]; then echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet; fi
"""


def _refuse_the_rest(namespace: int, rules: str, loopback: bool) -> None:
    inside = ["nsenter", f"--net=/proc/self/fd/{namespace}"]
    try:
        done = subprocess.run(
            [*inside, "/bin/sh", "-c", _RULES, "sh", "loopback" if loopback else ""],
            input=rules,
            text=True,
            capture_output=True,
            pass_fds=[namespace],
            timeout=READY_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise OSError("nft does not set the rules of a cell's network in time") from error
    if done.returncode:
        raise OSError(f"nft refuses the rules of a cell's network: {done.stderr.strip()}")


def _says_ready(descriptor: int) -> bool:
    with os.fdopen(descriptor, "rb", buffering=0) as pipe:
        return readable(descriptor, READY_SECONDS) and bool(pipe.read(1))
