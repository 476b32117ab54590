"""How a consumer takes messages: what may be said of it, and what holds where nothing is said."""

from dataclasses import asdict, dataclass
from typing import Any

from api.errors import ConsumerSettingsInvalid

WORKER, HTTP_PULL = "worker", "http_pull"
# Cloudflare's limits (queues/platform/limits).
LIMITS = {
    "batch_size": (1, 100),
    "max_retries": (0, 100),
    "retry_delay": (0, 86_400),
    "max_wait_time_ms": (0, 60_000),
    "max_concurrency": (1, 250),
    "visibility_timeout_ms": (1, 43_200_000),
}


@dataclass(frozen=True)
class Consuming:
    """Raises ConsumerSettingsInvalid for what is out of its limits."""

    type: str = WORKER
    dead_letter_queue: str | None = None
    batch_size: int = 10
    max_retries: int = 3
    retry_delay: int = 0
    """Seconds."""
    max_wait_time_ms: int = 5000
    max_concurrency: int | None = None
    """None: Skerry chooses."""
    visibility_timeout_ms: int = 30_000

    def __post_init__(self) -> None:
        if self.type not in (WORKER, HTTP_PULL):
            raise ConsumerSettingsInvalid(
                f'A consumer of type "{self.type[:40]}" is not known: use {WORKER} or {HTTP_PULL}. '
                "Nothing was changed."
            )
        for name, (least, most) in LIMITS.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise ConsumerSettingsInvalid(
                    f"`{name}` must be between {least} and {most}. Nothing was changed."
                )

    def columns(self) -> dict[str, Any]:
        return asdict(self)
