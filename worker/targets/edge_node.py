"""Pushing to an edge node's agent: the content over TLS, the node's answer back."""

import base64
import ssl
from functools import lru_cache
from typing import Any

import httpx2
from pydantic import BaseModel, ValidationError

from api.crons.service import Address, Delivery
from api.db import transaction
from api.deployments.rollouts import Push, SlotReport
from api.settings import settings
from api.versions import service as versions
from worker.targets import TargetUnreachable

# The node only takes note of it.
SCHEDULE_TIMEOUT_SECONDS, SCHEDULE_TRIES = 10.0, 3


class PushAnswer(BaseModel):
    """What an agent answers to a push."""

    generation: int
    slots: list["SlotAnswer"]


class SlotAnswer(BaseModel):
    script_id: str
    generation: int
    state: str
    reason: str | None = None


def put(push: Push) -> tuple[int, list[SlotReport]]:
    """Send one slot with its modules; gives the node's generation and what it says of the slot.

    Raises TargetUnreachable when there is no answer, or none that can be read.
    """
    body = {
        "generation": push.generation,
        "slots": [push.slot],
        "modules": _modules(push.slot),
    }
    try:
        response = _client(push.authority, push.server_name).post(
            f"{push.agent_url}/push",
            json=body,
            headers={"Authorization": f"Bearer {push.push_key}"},
            extensions={"sni_hostname": push.server_name},
            timeout=settings().push_timeout_seconds,
        )
        response.raise_for_status()
        answer = PushAnswer.model_validate_json(response.content)
    except (httpx2.HTTPError, ssl.SSLError, ValidationError) as error:
        raise TargetUnreachable(_words(error, settings().push_timeout_seconds)) from error
    return answer.generation, [
        SlotReport(slot.script_id, slot.generation, slot.state, slot.reason or "")
        for slot in answer.slots
    ]


def schedule(node: Address, delivery: Delivery) -> None:
    """Let a node call a script's `scheduled` handler; it says how that ended with its reports.

    Raises TargetUnreachable only when it has certainly not taken the run. A node whose answer was
    lost gets it again and knows it by its id; one that still does not answer counts as having it.
    """
    body = {
        "run_id": delivery.run_id,
        "script_id": delivery.script_id,
        "cron": delivery.cron,
        "scheduled_ms": round(delivery.scheduled_at.timestamp() * 1000),
    }
    for _ in range(SCHEDULE_TRIES):
        try:
            _client(node.authority, node.server_name).post(
                f"{node.agent_url}/scheduled",
                json=body,
                headers={"Authorization": f"Bearer {node.push_key}"},
                extensions={"sni_hostname": node.server_name},
                timeout=SCHEDULE_TIMEOUT_SECONDS,
            ).raise_for_status()
        except (httpx2.ReadTimeout, httpx2.ReadError, httpx2.RemoteProtocolError):
            continue
        except (httpx2.HTTPError, ssl.SSLError) as error:
            raise TargetUnreachable(_words(error, SCHEDULE_TIMEOUT_SECONDS)) from error
        return


def _words(error: Exception, timeout_seconds: float) -> str:
    """What happened, for the person who waits; the log has the error itself."""
    if isinstance(error, httpx2.TimeoutException):
        return f"The node did not answer within {timeout_seconds:g} s."
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return "Whoever answers at the node's address cannot prove to be this node, so nothing was sent to it."
    if isinstance(error, httpx2.ConnectError):
        return "The node did not answer: its machine, its agent or the network between may be down."
    if isinstance(error, httpx2.HTTPStatusError):
        return f"The node answered with status {error.response.status_code} instead of taking it."
    if isinstance(error, ValidationError):
        return "The node's answer could not be read: it may run another version of Skerry."
    return "The connection to the node broke off before it had answered."


def _modules(slot: dict[str, Any]) -> dict[str, str]:
    """Every module of the slot's versions, by digest, in base64."""
    digests = {
        entry["digest"]
        for version in slot["versions"]
        for entry in (*version["spec"]["modules"], *version["spec"]["bindings"])
        if "digest" in entry
    }
    with transaction() as session:
        return {
            digest: base64.b64encode(versions.content(session, digest)).decode()
            for digest in digests
        }


@lru_cache(maxsize=256)
def _client(authority: str, server_name: str) -> httpx2.Client:
    """A client of one node, with kept connections.

    One for each, though they do the same: a kept connection is found again by its address alone, and
    whoever answers there has proven to be the node that it was made for, not any other.
    """
    del server_name
    return httpx2.Client(verify=_trust(authority), trust_env=False)


@lru_cache(maxsize=4)
def _trust(authority: str) -> ssl.SSLContext:
    """Trusts the installation's own CA and nothing else."""
    return ssl.create_default_context(cadata=authority)
