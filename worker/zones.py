"""Looking for the proof of zones that are pending."""

import structlog

from api.zones import flows
from worker.app import app

log = structlog.get_logger()


@app.task(name="zones.verify")
def verify(zone_id: str) -> None:
    """Look for the TXT record of one zone, if it is time to. May be sent twice; one run looks."""
    zone = flows.verify_due(zone_id)
    if zone is not None:
        log.info("zone_looked_for", zone_id=zone_id, status=zone.status, problem=zone.problem)
