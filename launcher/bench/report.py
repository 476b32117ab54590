"""The table of a bench run: medians with their spread, the ratios that matter, what was measured on what."""

import os
import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from launcher.bench.contenders import BARE, EXPRESS, FRONT, WRANGLER_DEV, Contender
from launcher.paths import ROOT

# (what, a row over a row, what it must reach): issue 3's targets, as ratios of one run.
RATIOS = [
    ("the front, of a bare workerd", FRONT, BARE, 0.90),
    ("the front, of Express", FRONT, EXPRESS, 1.5),
    ("the front, of wrangler dev", FRONT, WRANGLER_DEV, 12.0),
]


class Measured(Protocol):
    """A row as the report needs it."""

    name: str
    unit: str
    values: list[float]

    @property
    def median(self) -> float: ...


def table(rows: Iterable[Measured], contenders: list[Contender], rounds: int) -> str:
    """Markdown that reads well in a terminal too."""
    listed = list(rows)
    width = max(len(row.name) for row in listed)
    lines = [
        "",
        f"| {'row':<{width}} |     median |     lowest |    highest | unit |",
        f"|-{'-' * width}-|-----------:|-----------:|-----------:|------|",
    ]
    lines += [
        f"| {row.name:<{width}} | {row.median:>10,.1f} | {min(row.values):>10,.1f} | "
        f"{max(row.values):>10,.1f} | {row.unit:<4} |"
        for row in listed
    ]
    return "\n".join([*lines, "", *_ratios(listed), "", *_settings(contenders, rounds)])


def _ratios(rows: list[Measured]) -> list[str]:
    rates = {row.name: row.median for row in rows}
    found = []
    for words, above, below, goal in RATIOS:
        ratio = rates[f"requests/s, {above}"] / rates[f"requests/s, {below}"]
        verdict = "reached" if ratio >= goal else "not reached"
        found.append(f"- requests/s of {words}: {ratio:.2f} (goal {goal:.2f}: {verdict})")
    return found


def _settings(contenders: list[Contender], rounds: int) -> list[str]:
    versions = "; ".join(f"{one.name} {one.version}" for one in contenders)
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.release()}"
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return [
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {machine}, load {load}; medians of {rounds} rounds, all rows in turns.",
        f"Everybody at upstream defaults: {versions}.",
        "wrk -t1 -c32 for the ceiling, autocannon -c32 for a rate, both on the same cores as the servers.",
    ]


def save(text: str) -> Path:
    """Write docs/benchmarks.md; its path."""
    path = ROOT / "docs" / "benchmarks.md"
    head = "# Benchmarks\n\nWritten by `./skerry bench --save`. Ratios of one run mean something; figures alone little.\n"
    path.write_text(f"{head}{text}\n")
    return path
