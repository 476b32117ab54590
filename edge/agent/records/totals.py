"""Requests since the agent started, by script: what only grows."""

from bisect import bisect_left
from collections import Counter, defaultdict

from edge.agent.records.attribution import Record
from edge.agent.records.sums import Key, Sum, Sums, counts_up_to

# Upper ends of the buckets of durations, in seconds.
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class ScriptTotals:
    """Of one script; `buckets` has one more than BOUNDS, for what takes longer."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.seconds = 0.0
        self.cold = 0
        self.bytes_in = 0
        self.bytes_out = 0

    def add(self, record: Record) -> None:
        seconds = record.duration_us / 1e6
        self.outcomes[record.outcome] += 1
        self.buckets[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds
        self.cold += record.cold
        self.bytes_in += record.bytes_in
        self.bytes_out += record.bytes_out

    def add_sum(self, key: Key, of: Sum) -> None:
        count = of.requests
        self.outcomes[key.outcome] += count
        for bucket, found in enumerate(counts_up_to(BOUNDS, of.durations_us)):
            self.buckets[bucket] += found
        self.seconds += of.total_us / 1e6
        self.cold += count * key.cold
        self.bytes_in += of.bytes_in
        self.bytes_out += of.bytes_out


class Totals:
    """By script id, for as long as the node knows the script."""

    def __init__(self) -> None:
        self.scripts: dict[str, ScriptTotals] = defaultdict(ScriptTotals)

    def add(self, record: Record) -> None:
        self.scripts[record.script_id].add(record)

    def add_sums(self, sums: Sums) -> None:
        for key, of in sums:
            self.scripts[key.script_id].add_sum(key, of)

    def keep(self, known: set[str]) -> None:
        """Forget scripts that were withdrawn, whose numbers would stay for ever."""
        for script_id in self.scripts.keys() - known:
            del self.scripts[script_id]
