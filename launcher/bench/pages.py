"""`./skerry bench pages`: how long the dashboard takes for each page while the account has many scripts.

From sending a request to the last byte of its answer, over loopback and a kept connection: the server's time and a
little more. The database is one of its own; no node runs, so nothing else is measured.
"""

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from api.sealing import make_master_key
from launcher import children, ports, programs
from launcher.bench import report
from launcher.bench.row import Row
from launcher.bench.seeding import BUSY
from launcher.children import Program
from launcher.errors import LauncherError
from launcher.paths import ROOT, DataDirectory
from launcher.programs import PYTHON, answers
from launcher.progress import say, step
from launcher.testing import test_servers

SCRIPTS = 1000
REQUESTS = 100
WARM_UP = 3
LIMIT_MS = 100.0
TITLE = "Pages of the dashboard"


def run(*, save: bool = False) -> int:
    """Measure every page, print the table; the exit status."""
    if programs.external_database() is not None:
        raise LauncherError("This fills a database: unset DATABASE_URL and REDIS_URL first.")
    with tempfile.TemporaryDirectory(prefix="skerry-bench-") as folder, test_servers() as servers:
        data = DataDirectory(Path(folder).resolve())
        data.create()
        environment = _environment(data, servers)
        with step(f"{SCRIPTS:,} scripts"):
            seeded = _seed(environment)
        with _dashboard(data, environment) as address:
            rows = measure(address, seeded)
    text = _said(rows)
    say(text)
    if save:
        say(f"Written to {report.save_section(TITLE, text)}.")
    return 0


def _environment(data: DataDirectory, servers: dict[str, str]) -> dict[str, str]:
    make_master_key(data.master_key)
    chosen, _ = ports.choose([ports.Wish(ports.CONTROL, "dashboard", None)], {})
    return {
        "DATABASE_URL": servers["TEST_DATABASE_URL"],
        "REDIS_URL": servers["TEST_REDIS_URL"],
        "SKERRY_MASTER_KEY_FILE": str(data.master_key),
        "SKERRY_PORT": str(chosen[ports.CONTROL]),
        "PYTHONPATH": str(ROOT),
    }


def _seed(environment: dict[str, str]) -> Any:
    done = subprocess.run(
        [*PYTHON, "-m", "launcher.bench.seeding", str(SCRIPTS)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise LauncherError(f"The scripts could not be made:\n{done.stderr}")
    return json.loads(done.stdout)


@contextmanager
def _dashboard(data: DataDirectory, environment: dict[str, str]) -> Iterator[str]:
    """The control plane without nodes; yields its address."""
    port = int(environment["SKERRY_PORT"])
    address = f"http://127.0.0.1:{port}"
    program = Program(
        name="control",
        command=[*PYTHON, "-m", "launcher.control", "api", "dashboard"],
        environment=environment,
        port=port,
        ready=lambda: answers(f"{address}/healthz"),
    )
    child = children.Child(program, data)
    try:
        child.start()
        child.wait_ready()
        yield address
    finally:
        child.stop()


def paths(seeded: Any) -> dict[str, str]:
    """The address of every page that reads rows, by what it is called in the table."""
    busy, (first, second) = f"/workers/{BUSY}", seeded["nodes"]
    return {
        "Workers, first page": "/workers",
        "Workers, last page": f"/workers?page={SCRIPTS // 25}",
        "Workers, searched": "/workers?search=99",
        "Find, searched": "/find?search=script-0999",
        "Create a Worker": "/workers/new",
        "Create from a template": "/workers/new/hello-world",
        "Overview": busy,
        "Deployments": f"{busy}/deployments",
        "Versions": f"{busy}/versions",
        "Version": f"{busy}/versions/{seeded['version']}",
        "Settings": f"{busy}/settings",
        "Add a variable": f"{busy}/variables/new",
        "Editor": f"{busy}/edit",
        "Delete": f"{busy}/delete",
        "Nodes": "/nodes",
        "Node that runs all": f"/nodes/{first}",
        "Node for which all waits": f"/nodes/{second}",
        "Connect wrangler": "/connect",
        "API tokens": "/tokens",
    }


def measure(address: str, seeded: Any, requests: int = REQUESTS) -> list[Row]:
    """A row for each page, with a value in ms for each request; pages in turns."""
    found = paths(seeded)
    rows = [Row(name, "ms") for name in found]
    port = address.rpartition(":")[2]
    cookies = {f"skerry_session_{port}": seeded["cookie"]}
    with httpx2.Client(base_url=address, cookies=cookies, trust_env=False) as client:
        for turn in range(WARM_UP + requests):
            for row, path in zip(rows, found.values(), strict=True):
                began = time.perf_counter()
                status = client.get(path).status_code
                taken_ms = (time.perf_counter() - began) * 1000
                if status != 200:
                    raise LauncherError(f"{path} answers {status}.")
                if turn >= WARM_UP:
                    row.values.append(taken_ms)
    return rows


def _said(rows: list[Row]) -> str:
    width = max(len(row.name) for row in rows)
    lines = [
        "",
        f"| {'page':<{width}} |  p50 ms |  p95 ms | highest |",
        f"|-{'-' * width}-|--------:|--------:|--------:|",
    ]
    lines += [
        f"| {row.name:<{width}} | {row.median:>7.1f} | {row.percentile(95):>7.1f} | {max(row.values):>7.1f} |"
        for row in rows
    ]
    slow = [row.name for row in rows if row.percentile(95) > LIMIT_MS]
    verdict = f"not reached: {', '.join(slow)}" if slow else "reached"
    return "\n".join(
        [
            *lines,
            "",
            f"- p95 of every page (goal at most {LIMIT_MS:g} ms: {verdict})",
            "",
            f"{SCRIPTS:,} scripts, two nodes in the database; {len(rows[0].values)} requests each, all pages in turns, "
            "one at a time, the whole answer over loopback. `./skerry bench pages --save` writes this part.",
            report.machine(),
        ]
    )
