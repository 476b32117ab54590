"""How the certificates of a zone look in a list."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from api.clock import now
from api.zones import certificates
from api.zones.models import Certificate, Zone

# Who renews by the clock, as certbot does with 30 days left, never sees the warning for long.
WARN_WITHIN = timedelta(days=30)
NAMES_SHOWN = 5


@dataclass(frozen=True)
class Line:
    """One of them, with a status in words; `replaced` are its names that a newer one has."""

    certificate: Certificate
    kind: str
    word: str
    replaced: list[str]

    @property
    def names(self) -> list[str]:
        return self.certificate.names[:NAMES_SHOWN]

    @property
    def more(self) -> int:
        return len(self.certificate.names) - len(self.names)


def certificates_of(zone: Zone, kept: Sequence[Certificate]) -> list[Line]:
    """The certificates of a zone: all of them, because which is shown depends on the others."""
    shown = certificates.shown(kept)
    return [
        Line(one, *_status(zone, one), [name for name in one.names if name not in shown[one.id]])
        for one in kept
    ]


def _status(zone: Zone, one: Certificate) -> tuple[str, str]:
    left = one.not_after - now()
    if left <= timedelta():
        return "failed", "Expired"
    if left <= WARN_WITHIN:
        return "alert", "Ends today" if left.days < 1 else f"{left.days} d left"
    return ("live", "Valid") if zone.active else ("idle", "Waits for the zone")
