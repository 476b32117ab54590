"""`./skerry bench`: figures of a temporary instance on this machine, each beside what it is compared with.

All rows are measured in turns, so that a machine that gets slower in the middle does not make one of two rows look
bad, and given as medians of the rounds with their spread. The load generator runs on the same cores as what it
measures: ratios of one run mean something, figures alone little.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from launcher import started, up
from launcher.bench import contenders, report
from launcher.bench.contenders import Contender
from launcher.bench.deploying import (
    HELLO,
    answering,
    deploy,
    deploy_to_live,
    host_of,
    make_reachable,
    wait_for,
)
from launcher.bench.load import Place, at_rate, failures, saturate, start_load
from launcher.bench.memory import cell_memory
from launcher.paths import DataDirectory
from launcher.programs import Instance
from launcher.progress import say, step

ROUNDS = 5
REDEPLOYS_UNDER_LOAD = 10
REDEPLOY_LOAD_SECONDS = 12
WARM_SCRIPTS = 200
# Away from the requests of the visitors that are measured: a script that never gives the event loop back.
SPIN = "export default { fetch() { for (;;); } };\n"
NEIGHBOUR_RATE = 200


@dataclass
class Row:
    """One line of the table; every round adds a value."""

    name: str
    unit: str
    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.values)


class Bench:
    """The rows of a run, in the order in which they were first measured."""

    def __init__(self, instance: Instance, others: list[Contender]) -> None:
        self.instance = instance
        self.rows: dict[str, Row] = {}
        front = Place(instance.config.ports["edge-1.http"], host_of("hello"))
        skerry = Contender(contenders.FRONT, "this checkout", front)
        self.contenders = [others[0], skerry, *others[1:]]
        self._front = front.port

    def add(self, name: str, unit: str, value: float) -> None:
        self.rows.setdefault(name, Row(name, unit)).values.append(value)

    def throughput(self) -> None:
        """Every contender once: as fast as it can, and at half of that."""
        for one in self.contenders:
            load = saturate(one.place)
            self.add(f"requests/s, {one.name}", "1/s", load.rate)
            self.add(f"p50 at 32 connections, {one.name}", "ms", load.p50_ms)
            self.add(f"p99 at 32 connections, {one.name}", "ms", load.p99_ms)
            half = at_rate(one.place, load.rate / 2)
            self.add(f"p99 at half of its ceiling, {one.name}", "ms", half)

    def deploys(self) -> None:
        accepted, live = deploy_to_live(self.instance, "deployed")
        self.add("deploy sent to accepted (nodes have acknowledged)", "ms", accepted * 1000)
        self.add("deploy accepted to first answer", "ms", live * 1000)

    def redeploys_under_load(self) -> None:
        """Exchange a script's version again and again while visitors ask for it."""
        place = Place(self._front, host_of("exchanged"))
        load = start_load(place, REDEPLOY_LOAD_SECONDS)
        for number in range(REDEPLOYS_UNDER_LOAD):
            deploy(self.instance, "exchanged", answering(f"exchange {number}"))
        said = load.communicate()[0]
        self.add(
            f"failed requests in {REDEPLOYS_UNDER_LOAD} redeploys under load", "", failures(said)
        )

    def neighbour(self) -> None:
        """A script's p99 at a moderate rate, alone and while another script spins."""
        place = Place(self._front, host_of("hello"))
        self.add(f"p99 at {NEIGHBOUR_RATE}/s, alone", "ms", at_rate(place, NEIGHBOUR_RATE))
        spinning = start_load(Place(self._front, host_of("spin")), 4)
        time.sleep(0.5)
        p99 = at_rate(place, NEIGHBOUR_RATE)
        spinning.communicate()
        self.add(f"p99 at {NEIGHBOUR_RATE}/s, while a neighbour spins", "ms", p99)

    def memory(self) -> None:
        """Deploy many scripts, each warm, and see what their cells take."""
        for number in range(WARM_SCRIPTS):
            deploy(self.instance, f"warm-{number}", HELLO)
        for pss, cpu in [cell_memory(self.instance.data)]:
            self.add(f"memory of a warm cell, {WARM_SCRIPTS} of them (PSS)", "MB", pss)
            self.add(f"CPU of {WARM_SCRIPTS} idle warm cells", "%", cpu)


def run(*, save: bool = False) -> int:
    """Start an instance and the contenders, measure, print, stop all; the exit status."""
    with tempfile.TemporaryDirectory(prefix="skerry-bench-") as folder:
        data = DataDirectory(Path(folder).resolve() / "data")
        ports = ["--port", "0", "--http-port", "0", "--https-port", "0"]
        say("A temporary instance:")
        if up.detach(data, ["up", *ports, "--data", str(data.path)]):
            return 1
        try:
            instance = started.find(data)
            _prepare(instance)
            with step("contenders"):
                running = contenders.running(data)
            with running as others:
                bench = Bench(instance, others)
                _measure(bench)
        finally:
            up.down(data)
    text = report.table(bench.rows.values(), bench.contenders, ROUNDS)
    say(text)
    if save:
        say(f"Written to {report.save(text)}.")
    return 0


def _prepare(instance: Instance) -> None:
    deploy(instance, "hello", HELLO)
    deploy(instance, "spin", SPIN)
    deploy(instance, "deployed", answering("first"))
    deploy(instance, "exchanged", answering("first"))
    for script in ("hello", "spin", "deployed", "exchanged"):
        make_reachable(instance, script)
    for script in ("deployed", "exchanged"):
        wait_for(instance, script, "first")


def _measure(bench: Bench) -> None:
    parts: list[Callable[[], None]] = [
        bench.throughput,
        bench.deploys,
        bench.redeploys_under_load,
        bench.neighbour,
    ]
    for number in range(ROUNDS):
        with step(f"round {number + 1} of {ROUNDS}"):
            for part in parts:
                part()
    with step(f"{WARM_SCRIPTS} warm scripts"):
        bench.memory()
    if any(
        row.values != [0] * len(row.values) for row in bench.rows.values() if "failed" in row.name
    ):
        say("Requests failed during redeploys: that is a defect, not a figure.")
