"""`./skerry bench bindings`: what KV, D1, queues and Durable Objects do a second, beside `wrangler dev`.

The same Worker with the same configuration is deployed by wrangler and run by `wrangler dev --local`; both are asked over
HTTP, in turns. One row is about two accounts: KV reads of one while a D1 query of the other takes seconds.
"""

import json
import os
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from launcher import children, environment, ports, programs, temporary
from launcher.bench import contenders, report
from launcher.bench.deploying import COMPATIBILITY_DATE
from launcher.bench.load import Place, at_rate, saturate
from launcher.bench.report import Goal
from launcher.bench.row import Row
from launcher.errors import LauncherError
from launcher.paths import NODE_22, NODE_MODULES, ROOT, DataDirectory
from launcher.programs import PYTHON, Instance, direct
from launcher.progress import say, step

TITLE = "Bindings"
WORKER = Path(__file__).parent / "worker" / "index.js"
SKERRY, DEV = "Skerry", "wrangler dev"
ROUNDS = 5
SECONDS, WARM_UP_SECONDS = 2, 1
# Row → the path of the Worker that does it once.
OPERATIONS = {
    "KV read": "/kv/read",
    "KV write": "/kv/write",
    "D1 query": "/d1/query",
    "D1 insert": "/d1/insert",
    "Durable Object increment": "/object/increment",
}
MESSAGES = 2000
DELIVERY_SECONDS = 60.0
# Of the other account's query: about five seconds of one core.
SLOW_NUMBERS = 40_000_000
NOISY, QUIET_RATE, NOISE_SECONDS = "noisy", 100, 4
CONFIG: dict[str, Any] = {
    "main": "index.js",
    "compatibility_date": COMPATIBILITY_DATE,
    "kv_namespaces": [{"binding": "KV"}],
    "d1_databases": [{"binding": "DB", "database_name": "bench"}],
    "durable_objects": {"bindings": [{"name": "COUNTER", "class_name": "Counter"}]},
    "migrations": [{"tag": "v1", "new_sqlite_classes": ["Counter"]}],
    "queues": {
        "producers": [{"binding": "QUEUE", "queue": "bench"}],
        "consumers": [{"queue": "bench", "max_batch_size": 100, "max_batch_timeout": 0}],
    },
}


def run(*, save: bool = False) -> int:
    """Start both, measure, print the table, stop both; the exit status."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="skerry-bench-")))
        instance = stack.enter_context(temporary.instance(folder.resolve() / "data"))
        port = instance.config.ports["edge-1.http"]
        with step("the same Worker on both, and on another account"):
            deploy(instance, _project(folder / "skerry"))
            neighbour = tenant(instance)
            deploy(instance, _project(folder / NOISY), neighbour)
            dev = stack.enter_context(_dev(_project(folder / "dev"), instance.data))
        skerry = Place(port, "bench.dev.localhost")
        places = {SKERRY: skerry, DEV: dev}
        for place in (*places.values(), Place(port, f"bench.{NOISY}.localhost")):
            ask(place, "/prepare")
        rows: dict[str, Row] = {}
        for number in range(ROUNDS):
            with step(f"round {number + 1} of {ROUNDS}"):
                measure(places, rows)
        with step("two accounts"):
            disturb(skerry, Place(port, f"bench.{NOISY}.localhost"), rows)
    said = _said(list(rows.values()))
    say(said)
    if save:
        say(f"Written to {report.save_section(TITLE, said)}.")
    return 0


def _project(folder: Path) -> Path:
    folder.mkdir()
    (folder / "index.js").write_text(WORKER.read_text())
    (folder / "wrangler.json").write_text(json.dumps({"name": "bench", **CONFIG}))
    return folder


def tenant(instance: Instance) -> dict[str, str]:
    """A second account, as wrangler's variables name it."""
    done = subprocess.run(
        [*PYTHON, "-m", "launcher.bench.tenant", NOISY],
        cwd=ROOT,
        env=children.environment(instance.data, programs.settings(instance)),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise LauncherError(f"The second account could not be made:\n{done.stderr}")
    made = json.loads(done.stdout)
    return {"CLOUDFLARE_ACCOUNT_ID": made["id"], "CLOUDFLARE_API_TOKEN": made["token"]}


def deploy(instance: Instance, project: Path, account: dict[str, str] | None = None) -> None:
    """By wrangler, which makes the queue first and everything else on the way."""
    variables = {
        **os.environ,
        **environment.variables(instance),
        **contenders.QUIET,
        **(account or {}),
        "HOME": str(project),
        "PATH": f"{NODE_22.parent}:{os.environ['PATH']}",
    }
    for arguments in (["queues", "create", "bench"], ["deploy"]):
        done = subprocess.run(
            [str(NODE_22), str(NODE_MODULES / "wrangler" / "bin" / "wrangler.js"), *arguments],
            cwd=project,
            env=variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise LauncherError(f"wrangler {arguments[0]} failed:\n{done.stdout}{done.stderr}")


@contextmanager
def _dev(project: Path, data: DataDirectory) -> Iterator[Place]:
    chosen, _ = ports.choose([ports.Wish("dev", "dev", None)], {})
    with contenders.run_program(contenders.wrangler_dev(project, chosen["dev"]), data):
        yield Place(chosen["dev"])


def ask(place: Place, path: str) -> Any:
    """The JSON that the Worker answers; LauncherError when it fails."""
    request = urllib.request.Request(  # noqa: S310 - our own http URL
        replace(place, path=path).url, headers={"Host": place.host}
    )
    try:
        with direct.open(request, timeout=60.0) as response:
            return json.load(response)
    except OSError as error:
        raise LauncherError(f"{path} on port {place.port} fails: {error}") from error


def measure(places: dict[str, Place], rows: dict[str, Row]) -> None:
    """Every row once, for each of the places in turn."""

    def add(name: str, unit: str, value: float) -> None:
        rows.setdefault(name, Row(name, unit)).values.append(value)

    for operation, path in OPERATIONS.items():
        for who, place in places.items():
            there = replace(place, path=path)
            saturate(there, WARM_UP_SECONDS)
            load = saturate(there, SECONDS)
            add(f"{operation}, {who}", "1/s", load.rate)
            add(f"{operation}, p50, {who}", "ms", load.p50_ms)
            add(f"{operation}, p99, {who}", "ms", load.p99_ms)
    for who, place in places.items():
        rate, taken = deliver(place)
        add(f"messages through a consumer, {who}", "1/s", rate)
        add(f"message on its way, p50, {who}", "ms", taken["p50"])
        add(f"message on its way, p99, {who}", "ms", taken["p99"])


def deliver(place: Place) -> tuple[float, Any]:
    """Messages a second from the first one's sending to the last one's consuming, and how long each
    was on its way; LauncherError when not all arrive in time."""
    began = time.monotonic()
    ask(place, f"/queue/send?n={MESSAGES}")
    while (taken := ask(place, "/queue/report"))["count"] < MESSAGES:
        if time.monotonic() - began > DELIVERY_SECONDS:
            raise LauncherError(f"Only {taken['count']} of {MESSAGES} messages arrived.")
        time.sleep(0.02)
    return MESSAGES / (time.monotonic() - began), taken


def disturb(place: Place, noisy: Place, rows: dict[str, Row]) -> None:
    """KV reads at a moderate rate, alone and while the other account's D1 computes."""
    there = replace(place, path="/kv/read")
    alone = Row("KV read at 100/s, p99, alone", "ms")
    beside = Row("KV read at 100/s, p99, beside another account's slow D1 query", "ms")
    for _ in range(ROUNDS):
        alone.values.append(at_rate(there, QUIET_RATE, NOISE_SECONDS))
        slow = threading.Thread(target=ask, args=(noisy, f"/d1/slow?n={SLOW_NUMBERS}"))
        slow.start()
        beside.values.append(at_rate(there, QUIET_RATE, NOISE_SECONDS))
        slow.join()
    rows |= {row.name: row for row in (alone, beside)}


def _goals() -> list[Goal]:
    compared = [*OPERATIONS, "messages through a consumer"]
    found = [Goal(f"{one}, of {DEV}", f"{one}, {SKERRY}", f"{one}, {DEV}", 1.0) for one in compared]
    return [
        *found,
        Goal(
            "KV p99 beside another account's slow query, of alone",
            "KV read at 100/s, p99, beside another account's slow D1 query",
            "KV read at 100/s, p99, alone",
            2.0,
            at_most=True,
        ),
    ]


def _said(rows: list[Row]) -> str:
    versions = f"Skerry this checkout, wrangler dev {contenders.package_version('wrangler')}"
    return "\n".join(
        [
            *report.lines(rows),
            "",
            *report.ratios(rows, _goals()),
            "",
            f"{versions}; wrk with 32 connections for {SECONDS} s, medians of {ROUNDS} rounds in turns; "
            f"{MESSAGES:,} messages in batches of 100. `./skerry bench bindings --save` writes this part.",
            report.machine(),
        ]
    )
