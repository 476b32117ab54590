"""How much a cell may use, and what it is called when it used more."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self

from edge.agent.settings import Settings
from edge.runtime.idle import Idle

MIB = 1024 * 1024
# The allocator takes memory in steps of 2 MiB. A limit on one of its steps would leave V8 nothing
# for the RangeError itself: 6 of 7 buffer bombs then ended the cell, with this reserve 1 of 7.
RESERVE_BYTES = 1 * MIB
# Resident memory has no limit of the kernel's own; it is looked at ten times a second.
RESIDENT_MARGIN_BYTES = 64 * MIB
# Below the front and the agent: they answer although all cells spin.
NICENESS = 5
# The front lets 1,000 requests into a cell at once, and workerd has two descriptors for each: with
# 1,024 it hung up on half of 1,000 first visitors (measured). The rest is for what scripts fetch.
DESCRIPTORS = 8192


class Outcome(StrEnum):
    EXCEEDED_CPU = "exceeded_cpu"
    EXCEEDED_MEMORY = "exceeded_memory"


@dataclass(frozen=True)
class Limits:
    heap_mib: int
    data_bytes: int
    """RLIMIT_DATA."""
    anonymous_bytes: int
    cpu_seconds: float
    cpu_seconds_max: float
    """Of a version that asks for more than `cpu_seconds`."""
    idle_sockets: int
    memory_mib: int

    @classmethod
    def of(cls, settings: Settings, idle: Idle) -> Self:
        budget = settings.cell_memory_mib * MIB
        return cls(
            heap_mib=settings.cell_heap_mib,
            data_bytes=idle.data_bytes + budget + RESERVE_BYTES,
            anonymous_bytes=idle.anonymous_bytes + budget + RESIDENT_MARGIN_BYTES,
            cpu_seconds=settings.cell_cpu_seconds,
            cpu_seconds_max=max(settings.cell_cpu_seconds_max, settings.cell_cpu_seconds),
            idle_sockets=idle.sockets,
            memory_mib=settings.cell_memory_mib,
        )

    @classmethod
    def of_store(cls, settings: Settings, idle: Idle) -> Self:
        """It has the same heap: more only makes a collection of it take longer."""
        budget, cpu = settings.store_memory_mib, settings.store_cpu_seconds
        return cls.of(replace(settings, cell_memory_mib=budget, cell_cpu_seconds=cpu), idle)

    def cpu_seconds_of(self, wanted_ms: int | None) -> float:
        """Of a cell whose version asks for so much."""
        return (
            self.cpu_seconds if wanted_ms is None else min(wanted_ms / 1000, self.cpu_seconds_max)
        )

    def fixed_at_start(self) -> dict[str, int]:
        """What a running cell keeps: other values here mean that it should be exchanged."""
        return {"heap_mib": self.heap_mib, "memory_mib": self.memory_mib, "niceness": NICENESS}
