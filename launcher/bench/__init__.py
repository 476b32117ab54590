"""`./skerry bench`: figures of a temporary instance on this machine, each beside what it is compared with.

All rows are measured in turns, so that a machine that gets slower in the middle does not make one of two rows look
bad, and given as medians of the rounds with their spread. The load generator runs on the same cores as what it
measures: ratios of one run mean something, figures alone little.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from launcher import temporary
from launcher.bench import contenders, report
from launcher.bench.cold import IDLE_SECONDS, Sleepers, bare_start, first_byte, wait_for_rest
from launcher.bench.contenders import Contender
from launcher.bench.deploying import (
    HELLO,
    answering,
    deploy,
    deploy_to_live,
    end_tail,
    host_of,
    make_reachable,
    set_scaling,
    start_tail,
    wait_for,
)
from launcher.bench.load import Place, at_rate, failures, saturate, start_load
from launcher.bench.memory import cell_memory, keepers_memory
from launcher.bench.row import Row as Row
from launcher.programs import Instance
from launcher.progress import say, step

ROUNDS = 5
# In each round.
DEPLOYS = 10
REDEPLOYS_UNDER_LOAD = 10
REDEPLOY_LOAD_SECONDS = 12
MANY_SCRIPTS = 200
# Before each measurement of a contender, so that everybody's code is compiled and a script of Skerry's has
# its second process, which it gets after three.
WARM_UP_SECONDS = 6
# Of each kind in each round: 300 samples in all.
COLD_STARTS = 60
# Away from the requests of the visitors that are measured: a script that never gives the event loop back.
SPIN = "export default { fetch() { for (;;); } };\n"
NEIGHBOUR_RATE = 200
# A node hears of a tail within two seconds.
TAIL_SECONDS = 4
SCRIPTS = {
    "hello": HELLO,
    "spin": SPIN,
    "deployed": answering("first"),
    "exchanged": answering("first"),
}
SANDBOXED_START = "idle script, sandboxed"
OPEN_START = "idle script, without sandbox"
BARE_START = "bare workerd serve"


class Bench:
    """The rows of a run, in the order in which they were first measured."""

    def __init__(
        self,
        instance: Instance,
        others: list[Contender],
        sleepers: Mapping[str, Sleepers],
        bare_config: Path,
    ) -> None:
        self.instance = instance
        self._other = sleepers[OPEN_START].instance
        self.rows: dict[str, Row] = {}
        front = Place(instance.config.ports["edge-1.http"], host_of("hello"))
        skerry = Contender(contenders.FRONT, "this checkout", front)
        self.contenders = [others[0], skerry, *others[1:]]
        self.sleepers = sleepers
        self._bare_config = bare_config
        self._samples: dict[str, list[float]] = {}
        self._front = front.port

    def add(self, name: str, unit: str, value: float) -> None:
        self.rows.setdefault(name, Row(name, unit)).values.append(value)

    def throughput(self) -> None:
        """Every contender once, the others paused: as fast as it can, and at half of that."""
        for one in self.contenders:
            with ExitStack() as stack:
                for other in self.contenders:
                    if other is not one:
                        stack.enter_context(other.paused())
                self._throughput(one)

    def _throughput(self, one: Contender) -> None:
        saturate(one.place, WARM_UP_SECONDS)
        load = saturate(one.place)
        self.add(f"requests/s, {one.name}", "1/s", load.rate)
        self.add(f"p50 at 32 connections, {one.name}", "ms", load.p50_ms)
        self.add(f"p99 at 32 connections, {one.name}", "ms", load.p99_ms)
        half = at_rate(one.place, load.rate / 2)
        self.add(f"p99 at half of its ceiling, {one.name}", "ms", half)

    def tailed(self) -> None:
        """The front as before, while somebody tails the script: its cell tells every invocation."""
        place = Place(self._front, host_of("hello"))
        tail, _ = start_tail(self.instance, "hello")
        try:
            time.sleep(TAIL_SECONDS)  # until the node has heard of it and exchanged the cell
            saturate(place, WARM_UP_SECONDS)
            load = saturate(place)
        finally:
            end_tail(self.instance, "hello", tail)
        self.add("requests/s, Skerry while it is tailed", "1/s", load.rate)
        self.add("p99 at 32 connections, Skerry while it is tailed", "ms", load.p99_ms)
        time.sleep(TAIL_SECONDS)

    def rest(self) -> None:
        """Until all sleepers are at rest. What puts them there takes CPU, half a minute after the last round's cold
        starts: just when the front was measured, and not what it is compared with."""
        for sleepers in self.sleepers.values():
            sleepers.wait_for_rest()

    def alone(self) -> None:
        """What is measured of one instance, without the other one: that would take its CPU from the front and not
        from a bare workerd, which leaves one of two cores idle."""
        with temporary.paused(self._other):
            self.throughput()
            self.tailed()
            self.deploys()
            self.redeploys_under_load()
            self.neighbour()

    def cold_starts(self) -> None:
        """First requests to scripts at rest, each kind in turn, beside starts of a bare workerd."""
        for number in range(COLD_STARTS):
            for kind, sleepers in self.sleepers.items():
                self._collect(f"cold start, {kind}", first_byte(sleepers.place(number)))
            self._collect(f"cold start, {BARE_START}", bare_start(self._bare_config))

    def _collect(self, name: str, seconds: float) -> None:
        """A sample of a row that is made of all rounds together: one round has too few for a p99."""
        self._samples.setdefault(name, []).append(seconds * 1000)

    def percentiles(self) -> None:
        for name, samples in self._samples.items():
            cuts = statistics.quantiles(samples, n=100, method="inclusive")
            for percent in (50, 95, 99):
                self.add(f"{name}, p{percent} of {len(samples)}", "ms", cuts[percent - 1])

    def deploys(self) -> None:
        for _ in range(DEPLOYS):
            accepted, live = deploy_to_live(self.instance, "deployed")
            self._collect("deploy sent to accepted (nodes have acknowledged)", accepted)
            self._collect("deploy accepted to first answer", live)

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
        """Deploy many scripts, see what they take while each is warm, and again when all rest."""
        data = self.instance.data
        before = keepers_memory(data)
        for number in range(MANY_SCRIPTS):
            deploy(self.instance, f"many-{number}", HELLO)
        pss, cpu = cell_memory(data)
        self.add(f"memory of a warm script, {MANY_SCRIPTS} of them (PSS)", "MB", pss)
        self.add(f"CPU of {MANY_SCRIPTS} idle warm cells", "%", cpu)
        for number in range(MANY_SCRIPTS):
            set_scaling(self.instance, f"many-{number}", idle_seconds=IDLE_SECONDS)
        wait_for_rest(self.instance, others=len(SCRIPTS))
        taken_kb = (keepers_memory(data) - before) * 1000 / MANY_SCRIPTS
        self.add(f"memory of a script at rest, {MANY_SCRIPTS} of them (PSS)", "kB", taken_kb)


def run(*, save: bool = False) -> int:
    """Start the instances and the contenders, measure, print, stop all; the exit status."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="skerry-bench-")))
        instance = stack.enter_context(temporary.instance(folder.resolve() / "data"))
        open_one = stack.enter_context(
            temporary.instance(folder.resolve() / "open", SKERRY_SANDBOX="off")
        )
        _prepare(instance)
        with step(f"{COLD_STARTS} scripts that rest, with and without sandbox"):
            sleepers = {
                SANDBOXED_START: Sleepers.deployed(instance, COLD_STARTS, len(SCRIPTS)),
                OPEN_START: Sleepers.deployed(open_one, COLD_STARTS, 0),
            }
        with step("contenders"):
            others = stack.enter_context(contenders.running(instance.data))
        config = contenders.bare_config(folder, 'name = "http"')
        bench = Bench(instance, others, sleepers, config)
        _measure(bench)
    text = report.table(bench.rows.values(), bench.contenders, ROUNDS)
    say(text)
    if save:
        say(f"Written to {report.save(text)}.")
    return 0


def _prepare(instance: Instance) -> None:
    for script, source in SCRIPTS.items():
        deploy(instance, script, source)
        make_reachable(instance, script)
    for script in ("deployed", "exchanged"):
        wait_for(instance, script, "first")


def _measure(bench: Bench) -> None:
    parts: list[Callable[[], None]] = [
        bench.rest,
        bench.alone,
        bench.cold_starts,
    ]
    for number in range(ROUNDS):
        with step(f"round {number + 1} of {ROUNDS}"):
            for part in parts:
                part()
    bench.percentiles()
    with step(f"{MANY_SCRIPTS} scripts, warm and at rest"):
        bench.memory()
    if any(
        row.values != [0] * len(row.values) for row in bench.rows.values() if "failed" in row.name
    ):
        say("Requests failed during redeploys: that is a defect, not a figure.")
