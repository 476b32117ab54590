"""What of a script's invocations is stored: `observability` of wrangler's configuration.

Its shape: `enabled`, `head_sampling_rate`, and in `logs` the same once more (which then counts),
`invocation_logs` and `persist`. `traces` with `enabled` has what stored invocations asked of others stored, too.
"""

from dataclasses import dataclass
from typing import Any

_SWITCHES = ("enabled",)
_PARTS = {
    "logs": ("enabled", "invocation_logs", "persist"),
    "traces": ("enabled", "persist"),
}


@dataclass(frozen=True)
class Observed:
    """Logs are stored."""

    rate: float
    """The share of the invocations of which anything is stored, 0 to 1."""
    invocations: bool
    """Whether the invocation itself is stored, or only what it printed and threw."""
    subrequests: bool = False
    """Whether what it asked of others is."""

    def as_json(self) -> dict[str, Any]:
        return vars(self)


def complaint(value: Any) -> str | None:
    """What is wrong with a value of `observability`; None for a good one."""
    if value is None:
        return None
    if not isinstance(value, dict):
        return "`observability` must be an object."
    for name, switches in _PARTS.items():
        part = value.get(name)
        if part is not None and not isinstance(part, dict):
            return f"`observability.{name}` must be an object."
        if found := _complaint(f"observability.{name}", part or {}, switches):
            return found
    return _complaint("observability", value, _SWITCHES)


def _complaint(where: str, value: dict[str, Any], switches: tuple[str, ...]) -> str | None:
    for name in switches:
        if not isinstance(value.get(name), bool | None):
            return f"`{where}.{name}` must be true or false."
    rate = value.get("head_sampling_rate")
    number = isinstance(rate, int | float) and not isinstance(rate, bool)
    if rate is not None and not (number and 0 <= rate <= 1):
        return f"`{where}.head_sampling_rate` must be a number from 0 to 1."
    return None


def read(value: Any) -> Observed | None:
    """None when nothing is stored. A value that is not allowed (any more) counts as none: a node's
    whole desired state must not fail for it."""
    if not isinstance(value, dict) or complaint(value):
        return None
    logs = value.get("logs") or {}
    if not _said(logs, value, "enabled", False) or logs.get("persist") is False:
        return None
    rate = float(_said(logs, value, "head_sampling_rate", 1))
    traced = (value.get("traces") or {}).get("enabled") is True
    return Observed(rate, logs.get("invocation_logs") is not False, traced) if rate else None


def _said(logs: dict[str, Any], whole: dict[str, Any], name: str, default: Any) -> Any:
    found = logs.get(name)
    found = whole.get(name) if found is None else found
    return default if found is None else found
