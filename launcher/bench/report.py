"""The table of a bench run: medians with their spread, the ratios that matter, what was measured on what."""

import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from launcher.bench.contenders import BARE, EXPRESS, FRONT, WRANGLER_DEV, Contender
from launcher.paths import ROOT

PAGE = ROOT / "docs" / "benchmarks.md"
SECTION = "## "
HEAD = "# Benchmarks\n\nWritten by `./skerry bench --save`. Ratios of one run mean something; figures alone little.\n"


@dataclass(frozen=True)
class Goal:
    """A row over a row of the same run, and what that must reach."""

    what: str
    above: str
    below: str
    limit: float
    at_most: bool = False

    def verdict(self, ratio: float) -> str:
        reached = ratio <= self.limit if self.at_most else ratio >= self.limit
        side = "at most" if self.at_most else "at least"
        return f"goal {side} {self.limit:.2f}: {'reached' if reached else 'not reached'}"


GOALS = [
    Goal("requests/s of the front, of a bare workerd", f"requests/s, {FRONT}", f"requests/s, {BARE}", 0.90),
    Goal("requests/s of the front, of Express", f"requests/s, {FRONT}", f"requests/s, {EXPRESS}", 1.5),
    Goal("requests/s of the front, of wrangler dev", f"requests/s, {FRONT}", f"requests/s, {WRANGLER_DEV}", 12.0),
    Goal("cold start p50, sandboxed, of a bare start", "cold start, idle script, sandboxed, p50 of 300", "cold start, bare workerd serve, p50 of 300", 1.5, at_most=True),
    Goal("cold start p99, sandboxed, of a bare start", "cold start, idle script, sandboxed, p99 of 300", "cold start, bare workerd serve, p99 of 300", 3.0, at_most=True),
]  # fmt: skip


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
    reached = ratios(listed, GOALS)
    return "\n".join([*lines(listed), "", *reached, "", *_settings(contenders, rounds)])


def lines(listed: Sequence[Measured]) -> list[str]:
    """The rows alone."""
    width = max(len(row.name) for row in listed)
    return [
        "",
        f"| {'row':<{width}} |     median |     lowest |    highest | unit |",
        f"|-{'-' * width}-|-----------:|-----------:|-----------:|------|",
        *(
            f"| {row.name:<{width}} | {row.median:>10,.1f} | {min(row.values):>10,.1f} | "
            f"{max(row.values):>10,.1f} | {row.unit:<4} |"
            for row in listed
        ),
    ]


def ratios(rows: Sequence[Measured], goals: list[Goal]) -> list[str]:
    """Each goal and whether the rows reach it."""
    medians = {row.name: row.median for row in rows}
    found = [(goal, medians[goal.above] / medians[goal.below]) for goal in goals]
    return [f"- {goal.what}: {ratio:.2f} ({goal.verdict(ratio)})" for goal, ratio in found]


def machine() -> str:
    """When and on what this was measured."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    cores = f"{os.cpu_count()} cores, {platform.system()} {platform.release()}"
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {cores}, load {load}."


def _settings(contenders: list[Contender], rounds: int) -> list[str]:
    versions = "; ".join(f"{one.name} {one.version}" for one in contenders)
    return [
        f"{machine().removesuffix('.')}; medians of {rounds} rounds, all rows in turns.",
        f"Everybody at upstream defaults: {versions}.",
        "wrk -t1 -c32 for the ceiling after 6 s of it (a busy script has got its second process then), autocannon -c32 for a rate, both on the same cores as the servers.",
    ]


def save(text: str) -> Path:
    """Write docs/benchmarks.md, but for the sections that are measured by themselves; its path."""
    sections = "".join(f"\n{SECTION}{one}" for one in _read().split(f"\n{SECTION}")[1:])
    return _write(f"{HEAD}{text}\n{sections}")


def save_section(title: str, text: str) -> Path:
    """Replace one section of docs/benchmarks.md, or add it at the end; its path."""
    first, *sections = _read().split(f"\n{SECTION}")
    others = [one for one in sections if one.partition("\n")[0] != title]
    return _write(f"\n{SECTION}".join([first, *others, f"{title}\n{text}\n"]))


def _read() -> str:
    return PAGE.read_text() if PAGE.exists() else HEAD


def _write(text: str) -> Path:
    PAGE.write_text(text)
    return PAGE
