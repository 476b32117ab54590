"""`./skerry bench lambda`: the same Hono Worker on a cell and under AWS Lambda's own runtime client, and its pushes.

AWS itself is not measured. A function here is the exact ZIP under the official client with the Runtime API of the
tests, on this machine; the pushes go to the stand-in of the tests, which answers at once where AWS takes seconds.
"""

import http.client
import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from launcher import temporary
from launcher.bench import report
from launcher.bench.cold import first_byte, wait_for_rest
from launcher.bench.deploying import (
    COMPATIBILITY_DATE,
    answering,
    choose_target,
    deploy,
    deploy_to_live,
    host_of,
    make_reachable,
    set_scaling,
    wait_for,
)
from launcher.bench.load import Place
from launcher.bench.row import Row
from launcher.errors import LauncherError
from launcher.paths import NODE_MODULES
from launcher.programs import Instance
from launcher.progress import say, step

TITLE = "Lambda"
COLD_STARTS, WARM_REQUESTS, PUSHES = 8, 300, 3
# Longer than it takes to deploy all of them.
IDLE_SECONDS = 30
PUSH_SECONDS = 60.0
HONO = """\
import { Hono } from "hono";
const app = new Hono();
app.get("/", (context) => context.json({ hello: "world" }));
export default app;
"""


def run(*, save: bool = False) -> int:
    """Measure, print the table; the exit status."""
    # Only here: what stands for AWS is the tests' own, and needs the packages of a checkout.
    from tests.aws.cloud import running_cloud  # noqa: PLC0415

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="skerry-bench-")))
        cloud = stack.enter_context(running_cloud(folder))
        instance = stack.enter_context(
            temporary.instance(folder.resolve() / "data", SKERRY_AWS_ENDPOINT_URL=cloud.url)
        )
        source = _bundled(folder)
        rows = [*_on_a_cell(instance, source), *_on_lambda(folder, source)]
        rows += _pushes(instance, cloud.live)
    said = _said(rows)
    say(said)
    if save:
        say(f"Written to {report.save_section(TITLE, said)}.")
    return 0


def _bundled(folder: Path) -> str:
    """As wrangler bundles it."""
    (folder / "index.js").write_text(HONO)
    done = subprocess.run(
        [
            str(NODE_MODULES / ".bin" / "esbuild"),
            str(folder / "index.js"),
            *("--bundle", "--format=esm", "--conditions=workerd,worker,browser"),
        ],
        env={"NODE_PATH": str(NODE_MODULES), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def _on_a_cell(instance: Instance, source: str) -> list[Row]:
    cold, warm = Row("cold, a cell", "ms"), Row("warm, a cell", "ms")
    names = [f"hono-{number}" for number in range(COLD_STARTS)]
    port = instance.config.ports["edge-1.http"]
    with step("a Hono Worker on cells"):
        for name in names:
            deploy(instance, name, source)
            make_reachable(instance, name)
            set_scaling(instance, name, idle_seconds=IDLE_SECONDS)
        wait_for_rest(instance, others=0)
        cold.values += [first_byte(Place(port, host_of(name))) * 1000 for name in names]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        warm.values += _timed(WARM_REQUESTS, partial(_asked, connection, host_of(names[0])))
        connection.close()
    return [cold, warm]


def _asked(connection: http.client.HTTPConnection, host: str) -> None:
    connection.request("GET", "/", headers={"Host": host})
    answer = connection.getresponse().read()
    if json.loads(answer) != {"hello": "world"}:
        raise LauncherError(f"The Worker answered {answer[:100]!r}.")


def _on_lambda(folder: Path, source: str) -> list[Row]:
    from tests.aws.lambdas import Lambda, packed  # noqa: PLC0415
    from tests.edge.bundles import Bundle  # noqa: PLC0415

    zipped = packed(Bundle(source, compatibility_date=COMPATIBILITY_DATE))
    cold, warm = (
        Row("cold, Lambda's runtime client", "ms"),
        Row("warm, Lambda's runtime client", "ms"),
    )
    with step("the same under Lambda's runtime client"):
        for number in range(COLD_STARTS):
            began = time.perf_counter()
            function = Lambda(zipped, folder / f"function-{number}")
            try:
                function.visit("hono.localhost")
                cold.values.append((time.perf_counter() - began) * 1000)
                if number == 0:
                    ask = partial(function.visit, "hono.localhost")
                    warm.values += _timed(WARM_REQUESTS, ask)
            finally:
                function.stop()
    return [cold, warm, Row("ZIP of the Worker and the adapter", "kB", [len(zipped) / 1000])]


def _pushes(instance: Instance, live: Callable[[str], tuple[bytes, dict[str, str]]]) -> list[Row]:
    node = Row("push to live, a node", "ms")
    function = Row("push to live, Lambda (the tests' stand-in)", "ms")
    with step("pushes"):
        deploy(instance, "pushed", answering("first"))
        make_reachable(instance, "pushed")
        wait_for(instance, "pushed", "first")
        for _ in range(PUSHES):
            node.values.append(sum(deploy_to_live(instance, "pushed")) * 1000)
        name = choose_target(instance, "pushed", PUSH_SECONDS)
        for number in range(PUSHES):
            before, _ = live(name)
            began = time.monotonic()
            deploy(instance, "pushed", answering(f"push {number}"))
            while live(name)[0] == before:
                if time.monotonic() - began > PUSH_SECONDS:
                    raise LauncherError(f"Lambda had no new version within {PUSH_SECONDS} s.")
                time.sleep(0.02)
            function.values.append((time.monotonic() - began) * 1000)
    return [node, function]


def _timed(times: int, ask: Callable[[], object]) -> list[float]:
    """Milliseconds of each; the first few are for the compilers of both sides."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        ask()
        found.append((time.perf_counter() - began) * 1000)
    return found[times // 10 :]


def _said(rows: list[Row]) -> str:
    return "\n".join(
        [
            *report.lines(rows),
            "",
            f"The same Hono Worker; {COLD_STARTS} cold starts, {WARM_REQUESTS} requests one after the other, {PUSHES} pushes. "
            "AWS adds its network, its microVM and",
            "seconds for a changed function; a push to it here is what Skerry and its waiting take.",
            report.machine(),
        ]
    )
