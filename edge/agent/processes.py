"""Processes that outlive the agent: started, recognised after a restart, watched, ended."""

import asyncio
import contextlib
import os
import select
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

from edge.proc import Identity, environment, marked

# Found in the environment of everything a node starts: whose it is, and what it is for.
NODE_VARIABLE = "SKERRY_NODE"
ROLE_VARIABLE = "SKERRY_ROLE"

# No core dump may hold a secret; a child needs fewer descriptors than the agent has. What a child may
# use is set before it runs, so that not even its start can escape it.
_LIMITS = (
    'ulimit -c 0; ulimit -Sn "$0" 2>/dev/null; ulimit -d "$1"; niceness=$2; shift 2; '
    'exec nice -n "$niceness" "$@"'
)
CHILD_DESCRIPTORS = 1024

# bubblewrap exits with this plus the number of the signal that ended what is inside.
SIGNALLED = 128


def node_processes(node: Path) -> Iterator[tuple[Identity, str]]:
    """Every living process that this node started, with its role."""
    for process, variables in marked(NODE_VARIABLE, lambda value: value == str(node)):
        if process.pid != os.getpid():
            yield process, variables.get(ROLE_VARIABLE, "")


def readable(descriptor: int, seconds: float) -> bool:
    """Whether there is something to read, or its end, within so long. Unlike `select.select`, for any
    number of descriptors in this process."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def plays(process: Identity, node: Path, role: str) -> bool:
    """Whether it was started by this node for this."""
    variables = environment(process.pid)
    return (variables.get(NODE_VARIABLE), variables.get(ROLE_VARIABLE)) == (str(node), role)


class Process:
    """One process, ours or adopted. `wait` ends when it has ended."""

    def __init__(self, identity: Identity, pidfd: int, child: bool) -> None:
        self.identity = identity
        self.exit_status: int | None = None
        self._pidfd = pidfd
        self._child = identity.pid if child else None
        self._inner: int | None = None
        self._ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(pidfd, self._on_end)

    @classmethod
    def start(
        cls,
        command: Sequence[str],
        *,
        node: Path,
        role: str,
        pass_fds: Sequence[int] = (),
        output: int | None = None,
        environ: Mapping[str, str] | None = None,
        descriptors: int = CHILD_DESCRIPTORS,
        data_bytes: int | None = None,
        niceness: int = 0,
        batch: bool = False,
    ) -> Self:
        """Start in a session of its own, with an environment of only what is given here. `batch` has it and
        what it starts wait for their turn when they are woken (SCHED_BATCH, sched(7))."""
        stream = subprocess.DEVNULL if output is None else output
        data = "unlimited" if data_bytes is None else str(data_bytes // 1024)
        started = subprocess.Popen(
            ["/bin/sh", "-c", _LIMITS, str(descriptors), data, str(niceness), *command],
            env={**(environ or {}), NODE_VARIABLE: str(node), ROLE_VARIABLE: role},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            pass_fds=tuple(pass_fds),
            start_new_session=True,
            cwd="/",
        )
        # A child of ours is a zombie at worst, so its pid is its own until we reap it.
        if batch:
            os.sched_setscheduler(started.pid, os.SCHED_BATCH, os.sched_param(0))
        identity = Identity.of(started.pid)
        if identity is None:
            raise ProcessLookupError(f"{command[0]} ended before it began")
        pidfd = os.pidfd_open(started.pid)
        started.returncode = 0  # we reap it; Popen must not wait for it or warn about it
        return cls(identity, pidfd, child=True)

    @classmethod
    def adopt(cls, identity: Identity) -> Self | None:
        """Watch a process that an earlier agent started, None when it is gone."""
        try:
            pidfd = os.pidfd_open(identity.pid)
        except ProcessLookupError:
            return None
        # Checked after the open: from here on the descriptor means this process and no other.
        if not identity.alive():
            os.close(pidfd)
            return None
        return cls(identity, pidfd, child=False)

    def contains(self, inner: Identity) -> None:
        """What was started is a sandbox. From now on this is about the process inside of it; the one
        outside only waits for that."""
        with contextlib.suppress(ProcessLookupError):
            self._inner = os.pidfd_open(inner.pid)
            self.identity = inner

    @property
    def pid(self) -> int:
        return self.identity.pid

    @property
    def metered(self) -> int:
        """The pid whose CPU and memory count: the program's own, also with a sandbox around it."""
        return self.pid

    @property
    def ended(self) -> bool:
        return self._ended.is_set()

    def _on_end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        if self._child:
            with contextlib.suppress(ChildProcessError):
                _, status = os.waitpid(self._child, 0)
                self.exit_status = os.waitstatus_to_exitcode(status)
            if self._inner is not None and (self.exit_status or 0) > SIGNALLED:
                self.exit_status = SIGNALLED - (self.exit_status or 0)
        self.send(signal.SIGKILL)  # a sandbox whose outer process was killed lives on without it
        self._close()

    def _close(self) -> None:
        os.close(self._pidfd)
        if self._inner is not None:
            os.close(self._inner)
        self._ended.set()

    async def wait(self) -> None:
        await self._ended.wait()

    def send(self, number: signal.Signals) -> None:
        if not self.ended:
            with contextlib.suppress(ProcessLookupError):
                target = self._pidfd if self._inner is None else self._inner
                signal.pidfd_send_signal(target, number)

    async def end(self, first: signal.Signals = signal.SIGTERM, grace: float = 10.0) -> None:
        """Ask it to end; after `grace` seconds make it end."""
        self.send(first)
        try:
            async with asyncio.timeout(grace):
                await self.wait()
        except TimeoutError:
            self.send(signal.SIGKILL)
            await self.wait()

    def forget(self) -> None:
        """Stop watching: the process goes on without the agent."""
        if not self.ended:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            self._close()
