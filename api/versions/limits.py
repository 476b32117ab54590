"""What a version asks of the limits: `limits` of wrangler's configuration, `{"cpu_ms": N}`."""

from typing import Any

from api.errors import ScriptRejected

# Cloudflare's bounds: five minutes of CPU at most.
CPU_MS_MAX = 300_000


def check_cpu_ms(value: int) -> int:
    """Milliseconds of CPU; raises ValueError with the reason."""
    if not 1 <= value <= CPU_MS_MAX:
        raise ValueError(f"CPU time is 1 to {CPU_MS_MAX:,} ms")
    return value


def check_limits(limits: Any) -> None:
    """Raises ScriptRejected for limits that cannot be kept."""
    cpu_ms = limits.get("cpu_ms")
    if cpu_ms is None:
        return
    if not isinstance(cpu_ms, int) or isinstance(cpu_ms, bool):
        raise ScriptRejected("`limits.cpu_ms` must be a whole number of milliseconds.")
    try:
        check_cpu_ms(cpu_ms)
    except ValueError as error:
        raise ScriptRejected(f"`limits.cpu_ms`: {error}, not {cpu_ms:,}.") from error


def cpu_ms_of(options: dict[str, Any]) -> int | None:
    """What a stored version asks for; None leaves it to the node. Older versions may hold anything."""
    limits = options.get("limits")
    cpu_ms = limits.get("cpu_ms") if isinstance(limits, dict) else None
    return cpu_ms if isinstance(cpu_ms, int) and 1 <= cpu_ms <= CPU_MS_MAX else None
