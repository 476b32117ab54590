"""`./skerry up` and `./skerry down`."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from launcher import children, config, instance_lock, ports, processes, programs, started
from launcher.config import Config
from launcher.paths import ROOT, DataDirectory
from launcher.programs import PYTHON, Instance
from launcher.progress import say, step
from launcher.supervisor import Prepared, Supervisor

# Nodes drain, servers write: more than this means that something hangs.
DOWN_SECONDS = 45.0


@dataclass(frozen=True)
class Flags:
    """What `up` was told on its command line; None: as the last time, or the default."""

    bind: str | None = None
    nodes: int | None = None
    control: int | None = None
    http: int | None = None
    https: int | None = None


class StopAskedError(Exception):
    """A signal asks the supervisor to end; not a failure."""


def run(data: DataDirectory, flags: Flags) -> int:
    """Run the whole instance in the foreground until a signal ends it; the exit status."""
    with instance_lock.held(data), _signals_raise():
        try:
            if instance_lock.end_leftovers(data):
                say("  Ended the processes that an earlier run left behind.")
            reserved = ports.Reservations()
            _supervise(Instance(_configure(data, flags, reserved), data))
        except StopAskedError:
            pass
    return 0


def _supervise(instance: Instance) -> None:
    began = time.monotonic()
    supervisor = Supervisor(instance)
    try:
        instance_lock.write_state(instance.data, "starting")
        prepared = supervisor.start()
        say(_summary(instance, prepared, time.monotonic() - began))
        instance_lock.write_state(
            instance.data,
            "running",
            dashboard=programs.public_url(instance),
            apps_domain=programs.apps_domain(),
        )
        supervisor.watch()
    finally:
        instance_lock.write_state(instance.data, "stopping")
        _stop(supervisor)
        # Gone only after an orderly end: see instance_lock.end_leftovers.
        instance.data.state.unlink(missing_ok=True)


def detach(
    data: DataDirectory, arguments: list[str], environment: Mapping[str, str] | None = None
) -> int:
    """Run `up` in the background; return once it is healthy, or with its words when it is not."""
    if instance_lock.supervisor(data) is not None:
        raise instance_lock.already_running(data)
    data.create()
    log = children.log_path(data, "launcher")
    children.turn_over(log)
    with log.open("ab") as output:
        seen = output.tell()
        process = subprocess.Popen(
            [*PYTHON, "-m", "launcher", *arguments],
            env={**os.environ, **(environment or {}), "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        while not (ended := process.poll() is not None) and not _is_up(data, process.pid):
            seen = _echo(log, seen)
            time.sleep(0.05)
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        ended = True
    _echo(log, seen)
    return (process.returncode or 1) if ended else 0


def down(data: DataDirectory) -> int:
    """Stop the instance: ask its supervisor, or end what a killed one left."""
    supervisor = instance_lock.supervisor(data)
    if supervisor is not None:
        processes.send(supervisor, signal.SIGTERM)
        with step("stopping"):
            if not processes.wait_gone([supervisor], DOWN_SECONDS):
                processes.send(supervisor, signal.SIGKILL)
                processes.wait_gone([supervisor], 5.0)
    if not data.lock.exists():
        say(f"Nothing was ever started on {data.path}.")
        return 0
    with instance_lock.held(data):
        left = instance_lock.end_leftovers(data)
    say(f"Stopped {data.path}." if supervisor or left else f"Nothing runs on {data.path}.")
    return 0


def _configure(data: DataDirectory, flags: Flags, reserved: ports.Reservations) -> Config:
    """Flags over what is remembered over defaults; written down before anything starts."""
    found = config.load(data.config)
    found.bind = flags.bind or found.bind
    found.nodes = flags.nodes or found.nodes
    asked = ports.wishes(
        found,
        control=flags.control,
        http=flags.http,
        https=flags.https,
        embedded=programs.embedded_servers(),
    )
    while True:
        chosen, notes = ports.choose(asked, found.ports)
        if reserved.add(chosen.values()):
            break
    # Ports of servers that are replaced by a URL, or of nodes not started this time, stay remembered.
    found.ports = {**found.ports, **chosen}
    for name in programs.embedded_servers():
        found.password(name)
    config.save(found, data.config)
    for note in notes:
        say(f"  {note}")
    return found


@contextmanager
def _signals_raise() -> Iterator[None]:
    """Turn the signals that end a program into an exception in the main thread."""

    def ask(_number: int, _frame: FrameType | None) -> None:
        raise StopAskedError

    wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, ask) for number in wanted}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(supervisor: Supervisor) -> None:
    # A second SIGTERM must not interrupt the stop; a second Ctrl-C is a person who wants it now.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        supervisor.stop()
    except StopAskedError:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        say("\nKilling what is left.")
        supervisor.kill()


def _is_up(data: DataDirectory, pid: int) -> bool:
    state = instance_lock.read_record(data.state)
    return state.get("pid") == pid and state.get("state") == "running"


def _echo(log: Path, position: int) -> int:
    """Print what was appended to the log since `position` (bytes); the new position."""
    with log.open("rb") as file:
        file.seek(position)
        added = file.read()
    sys.stdout.write(added.decode(errors="replace"))
    sys.stdout.flush()
    return position + len(added)


def _summary(instance: Instance, prepared: Prepared, seconds: float) -> str:
    dashboard = programs.public_url(instance)
    hint = ""
    if prepared.setup_token is not None:
        dashboard += f"/setup?token={prepared.setup_token}"
        hint = "\n              (makes the administrator; valid until there is one)"
    name = started.any_hostname(instance, programs.apps_domain())
    flag = instance.data.flag
    stop = "Ctrl-C" if sys.stdout.isatty() else f"./skerry down{flag}"
    return f"""
Skerry is up, after {seconds:.1f} s.

  Dashboard   {dashboard}{hint}
  Live URLs   {instance.origin(name)}
              {instance.origin(name, "https")} (once trusted: ./skerry trust{flag})
  wrangler    eval "$(./skerry env{flag})"   and then, in a Workers project: npx wrangler deploy
  Logs        {instance.data.logs}
  Stop        {stop}
"""
