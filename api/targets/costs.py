"""What a script's own traffic would cost on AWS Lambda in a month. The prices are data: prices.json."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from api.targets.models import LambdaTarget

_PRICES = Path(__file__).parent / "prices.json"
_GIB = 1024
_GB = 1e9
# Lambda counts whole milliseconds, at least one; the start of a process is paid for too.
_MS_MIN = 1


@dataclass(frozen=True)
class Traffic:
    """Of 30 days."""

    requests: int
    duration_ms: float
    bytes_out: int


@dataclass(frozen=True)
class Estimate:
    currency: str
    as_of: str
    requests: float
    compute: float
    transfer: float

    @property
    def total(self) -> float:
        return self.requests + self.compute + self.transfer


@cache
def prices() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_PRICES.read_text())
    return found


def estimate(target: LambdaTarget, traffic: Traffic) -> Estimate:
    """As if each request took as long there as it does on the nodes."""
    known = prices()
    duration_ms = max(traffic.duration_ms, traffic.requests * _MS_MIN)
    gb_seconds = duration_ms / 1000 * target.memory_mib / _GIB
    return Estimate(
        currency=known["currency"],
        as_of=known["as_of"],
        requests=traffic.requests / 1e6 * known["requests_per_million"],
        compute=gb_seconds * known["gb_second"][target.architecture],
        transfer=traffic.bytes_out / _GB * known["transfer_out_per_gb"],
    )
