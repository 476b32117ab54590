"""Load on one server of this machine: wrk for the ceiling, autocannon for a constant rate."""

import json
import re
import subprocess
from dataclasses import dataclass

from launcher.errors import LauncherError
from launcher.paths import NODE_22, NODE_MODULES, program_path

CONNECTIONS = 32
SECONDS = 3

_UNITS_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


@dataclass(frozen=True)
class Place:
    """Where a server answers."""

    port: int
    host: str = "localhost"
    path: str = "/"
    headers: tuple[str, ...] = ()
    """Sent with each request, as `Name: value`."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.path}"


@dataclass(frozen=True)
class Load:
    """What a run with as many requests as possible gave."""

    rate: float
    """Requests a second."""
    p50_ms: float
    p99_ms: float


def saturate(place: Place, seconds: int = SECONDS) -> Load:
    """As many requests as 32 connections can make; LauncherError if any of them failed."""
    said = _wrk(place, seconds)
    if "Non-2xx" in said or "Socket errors" in said:
        raise LauncherError(f"Requests failed under load:\n{said}")
    return Load(_number(said, r"Requests/sec:\s+([\d.]+)"), _latency(said, 50), _latency(said, 99))


def failures(said: str) -> int:
    """Requests that failed in a run of wrk, for whatever reason."""
    counts = re.findall(
        r"(?:connect|read|write|timeout) (\d+)|Non-2xx or 3xx responses: (\d+)", said
    )
    return sum(int(one or other) for one, other in counts)


def start_load(place: Place, seconds: int) -> "subprocess.Popen[str]":
    """wrk in the background; its output is for `failures`."""
    return subprocess.Popen(_command(place, seconds), stdout=subprocess.PIPE, text=True)


def at_rate(place: Place, rate: float, seconds: int = SECONDS) -> float:
    """The 99th percentile in ms at a constant rate, corrected for coordinated omission (autocannon)."""
    named = [header.replace(": ", "=", 1) for header in (f"Host: {place.host}", *place.headers)]
    headers = [word for header in named for word in ("-H", header)]
    done = subprocess.run(
        [
            str(NODE_22), str(NODE_MODULES / "autocannon" / "autocannon.js"), "--json", "--no-progress",
            "-c", str(CONNECTIONS), "-d", str(seconds), "-R", str(max(1, round(rate))),
            *headers, place.url,
        ],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return float(json.loads(done.stdout)["latency"]["p99"])


def _wrk(place: Place, seconds: int) -> str:
    return subprocess.run(
        _command(place, seconds), capture_output=True, text=True, check=True
    ).stdout


def _command(place: Place, seconds: int) -> list[str]:
    wrk = program_path("wrk")
    if wrk is None:
        raise LauncherError("wrk is missing: sudo apt-get install wrk")
    headers = [
        word for header in (f"Host: {place.host}", *place.headers) for word in ("-H", header)
    ]
    return [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", *headers, place.url]


def _latency(said: str, percentile: int) -> float:
    found = re.search(rf"\b{percentile}%\s+([\d.]+)(us|ms|s)\b", said)
    if found is None:
        raise LauncherError(f"wrk said something unexpected:\n{said}")
    return float(found[1]) * _UNITS_MS[found[2]]


def _number(said: str, pattern: str) -> float:
    found = re.search(pattern, said)
    if found is None:
        raise LauncherError(f"wrk said something unexpected:\n{said}")
    return float(found[1])
