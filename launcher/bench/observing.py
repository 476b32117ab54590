"""`./skerry bench observing`: what it costs a script that somebody looks at it.

The same script four times: nobody looks, one invocation in ten is stored, each is, and ten people tail it, who read
all they get. All four in turns; the readers, the agent and the control plane run on the same cores as the script.
"""

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from launcher import temporary
from launcher.bench import report
from launcher.bench.deploying import (
    HELLO,
    deploy,
    end_tail,
    host_of,
    make_reachable,
    start_tail,
    wait_for,
)
from launcher.bench.load import CONNECTIONS, Place, saturate
from launcher.bench.row import Row
from launcher.programs import Instance
from launcher.progress import say, step

TITLE = "Observability"
ROUNDS = 5
WARM_UP_SECONDS = 1
TAILS = 10
# A node hears of a tail within two seconds, and exchanges the cell.
TAIL_SECONDS = 4
TAILED = f"with {TAILS} tails"
SAMPLED = {"off": 0.0, "at 10 %": 0.1, "at 100 %": 1.0}


def run(*, save: bool = False) -> int:
    """Start an instance, measure, print the table; the exit status."""
    with (
        tempfile.TemporaryDirectory(prefix="skerry-bench-") as folder,
        temporary.instance(Path(folder).resolve() / "data") as instance,
    ):
        names = {words: f"observed-{number}" for number, words in enumerate((*SAMPLED, TAILED))}
        for words, name in names.items():
            rate = SAMPLED.get(words)
            observed = {"enabled": True, "head_sampling_rate": rate} if rate else {"enabled": False}
            deploy(instance, name, HELLO, observability=observed)
            make_reachable(instance, name)
            wait_for(instance, name, '{"hello":"world"}')
        rows = _measure(instance, names)
    said = _said(rows, list(names))
    say(said)
    if save:
        say(f"Written to {report.save_section(TITLE, said)}.")
    return 0


def _measure(instance: Instance, names: dict[str, str]) -> dict[str, Row]:
    """By name."""
    rows: dict[str, Row] = {}
    port = instance.config.ports["edge-1.http"]
    for number in range(ROUNDS):
        with step(f"round {number + 1} of {ROUNDS}"):
            for words, name in names.items():
                place = Place(port, host_of(name))
                with ExitStack() as stack:
                    if words == TAILED:
                        stack.enter_context(_tails(instance, name))
                    saturate(place, WARM_UP_SECONDS)
                    load = saturate(place)
                for what, unit, value in (
                    ("requests/s", "1/s", load.rate),
                    (f"p99 at {CONNECTIONS} connections", "ms", load.p99_ms),
                ):
                    row = rows.setdefault(f"{what}, {words}", Row(f"{what}, {words}", unit))
                    row.values.append(value)
    return rows


@contextmanager
def _tails(instance: Instance, script: str) -> Iterator[None]:
    """Ten that are read, from when the node knows of them."""
    made = [start_tail(instance, script) for _ in range(TAILS)]
    readers = [threading.Thread(target=_read, args=(url,)) for _, url in made]
    for reader in readers:
        reader.start()
    time.sleep(TAIL_SECONDS)
    try:
        yield
    finally:
        for identity, _ in made:
            end_tail(instance, script, identity)
        for reader in readers:
            reader.join()


def _read(url: str) -> None:
    """Until the tail ends."""
    with suppress(WebSocketException, OSError), connect(url, proxy=None) as socket:
        for _ in socket:
            pass


def _said(rows: dict[str, Row], kinds: list[str]) -> str:
    lines = report.lines(sorted(rows.values(), key=lambda one: one.unit))
    off = rows[f"requests/s, {kinds[0]}"].median
    lines += [
        "",
        *(
            f"- requests/s {kind}, of those with observability off: {rows[f'requests/s, {kind}'].median / off:.2f}"
            for kind in kinds[1:]
        ),
        "",
        f"{report.machine().removesuffix('.')}; medians of {ROUNDS} rounds, all rows in turns.",
    ]
    return "\n".join(lines)
