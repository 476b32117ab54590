"""The beat table."""

from typing import Any

from api.settings import settings

PRUNE_EVERY_SECONDS = 3600.0
EXPIRE_EVERY_SECONDS = 3600.0
# A trigger fires at most this much after its time.
FIRE_EVERY_SECONDS = 1.0
LOOK_EVERY_SECONDS = 1800.0
RENEW_EVERY_SECONDS = 3600.0


def beat_schedule() -> dict[str, dict[str, Any]]:
    """What runs by the clock. A sweep that could not be sent in time is not sent late."""
    every = settings().sweep_every_seconds
    return {
        "sweep": {"task": "rollouts.sweep", "schedule": every, "options": {"expires": every}},
        "fire": {
            "task": "crons.fire",
            "schedule": FIRE_EVERY_SECONDS,
            "options": {"expires": FIRE_EVERY_SECONDS * 5},
        },
        "look": {
            "task": "lambdas.look",
            "schedule": LOOK_EVERY_SECONDS,
            "options": {"expires": LOOK_EVERY_SECONDS},
        },
        "renew": {
            "task": "lambdas.renew",
            "schedule": RENEW_EVERY_SECONDS,
            "options": {"expires": RENEW_EVERY_SECONDS},
        },
        "alerts": {
            "task": "alerts.evaluate",
            "schedule": settings().alerts_every_seconds,
            "options": {"expires": settings().alerts_every_seconds},
        },
        "prune": {
            "task": "modules.prune",
            "schedule": PRUNE_EVERY_SECONDS,
            "options": {"expires": PRUNE_EVERY_SECONDS},
        },
        "expire": {
            "task": "invocations.expire",
            "schedule": EXPIRE_EVERY_SECONDS,
            "options": {"expires": EXPIRE_EVERY_SECONDS},
        },
    }
