"""The node gateway: what nodes ask of the control plane, over TLS, on a port of its own.

Both sides prove themselves: the control plane with a certificate of the CA whose fingerprint stands
in the join token, the node with the credential it got when it enrolled.
"""

import base64
from typing import Annotated, Any
from uuid import UUID

import redis
import structlog
from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import AwareDatetime, BaseModel, Field

from api.clock import now
from api.crons import service as crons
from api.db import DATABASE_AWAY, DB, transaction
from api.deployments import rollouts
from api.errors import NotAuthenticated, Problem, TooLarge, Unavailable
from api.invocations import ingestion
from api.logs import ingestion as log_ingestion, stacks
from api.middleware import RequestLog
from api.nodes import authority, service
from api.nodes.models import Node
from api.tails import service as tails, watching
from api.telemetry import service as telemetry
from api.versions import service as versions
from api.zones import certificates as zone_certificates

log = structlog.get_logger()
_bearer = HTTPBearer(auto_error=False)
# Half of what the column holds: a node that is ahead leaves room to count on.
GENERATION_MAX = 2**30
# Of one answer with many modules, before base64; a larger one comes alone.
MODULES_BYTES = 16 * 1024 * 1024
# Packed; a second of 50,000 requests is some 3 MB.
BATCH_BYTES_MAX = 64 * 1024 * 1024
TAIL_EVENTS_MAX = 2000
DIGEST_LENGTH_MAX = 200


class EnrolmentIn(BaseModel):
    join_token: str
    name: str
    agent_url: str
    csr: str


class SlotReportIn(BaseModel):
    script_id: str
    generation: int = Field(ge=0, le=GENERATION_MAX)
    state: str = Field(pattern="^(live|withdrawn|failed)$")
    reason: str | None = None


class RunReportIn(BaseModel):
    """How a call of a `scheduled` handler ended."""

    run_id: str
    outcome: str
    duration_ms: int = Field(ge=0, le=2**31 - 1)
    reason: str = ""
    logs: list[str] = []


class ModulesIn(BaseModel):
    digests: list[str] = Field(max_length=1000)


class CertificateIn(BaseModel):
    """A certificate that the node shows somebody."""

    name: str = Field(max_length=200)
    ends_at: AwareDatetime


class ConditionIn(BaseModel):
    disk_total_bytes: int = Field(ge=0, lt=2**62)
    disk_free_bytes: int = Field(ge=0, lt=2**62)
    certificates: list[CertificateIn] = Field([], max_length=1000)


class ReportIn(BaseModel):
    generation: int = Field(ge=0, le=GENERATION_MAX)
    agent_version: str = ""
    runtime_version: str = ""
    runtime_compatibility_date: str = ""
    sandbox: str = "none"
    agent_url: str | None = None
    door_port: int = Field(0, ge=0, le=65535)
    bucket: str = Field("", max_length=1000)
    slots: list[SlotReportIn] = []
    runs: list[RunReportIn] = []
    condition: ConditionIn | None = None


Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


def calling_node(session: DB, credentials: Credentials) -> Node:
    if credentials is None:
        raise NotAuthenticated("Send the node's credential as `Authorization: Bearer …`.")
    return service.recognise(session, credentials.credentials)


CurrentNode = Annotated[Node, Depends(calling_node)]


def create_gateway() -> FastAPI:
    app = FastAPI(title="Skerry node gateway", openapi_url=None)
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    for away in DATABASE_AWAY:
        app.add_exception_handler(away, _database_away)
    app.add_middleware(RequestLog)
    app.get("/edge/v1/ca")(get_ca)
    app.post("/edge/v1/enrolments", status_code=201)(enrol)
    app.get("/edge/v1/desired")(get_desired)
    app.get("/edge/v1/modules/{digest}")(get_module)
    app.post("/edge/v1/modules")(get_modules)
    app.post("/edge/v1/reports")(report)
    app.put("/edge/v1/batches/{batch_id}")(take_batch)
    app.put("/edge/v1/logs/{batch_id}")(take_logs)
    app.post("/edge/v1/tails")(get_tails)
    app.post("/edge/v1/tail-events")(take_events)
    return app


def get_ca(session: DB) -> Response:
    """The CA certificate; a node trusts it only if its digest is the join token's."""
    return Response(authority.ensure(session).certificate, media_type="application/x-pem-file")


def enrol(session: DB, body: EnrolmentIn) -> dict[str, Any]:
    """Take a node in and hand it everything that is deployed as its first desired state."""
    enrolment = service.enrol(session, body.join_token, body.name, body.agent_url, body.csr)
    rollouts.catch_up(session, enrolment.node)
    log.info("node_enrolled", node=body.name, node_id=enrolment.node.id)
    return {
        "node_id": enrolment.node.id,
        "token": enrolment.token,
        "push_key": enrolment.push_key,
        "certificate": enrolment.certificate,
        "ca": enrolment.ca,
        "generation": 0,
    }


def get_desired(
    session: DB,
    node: CurrentNode,
    since: Annotated[int, Query(ge=0, le=GENERATION_MAX)],
    certificates: Annotated[str | None, Query(max_length=DIGEST_LENGTH_MAX)] = None,
) -> dict[str, Any]:
    """Every slot that changed after `since`; what is at `base` or before and not among them is void.

    `certificates` is the digest of those that the node has, empty for none; an older one does not send it.
    """
    # Read first: a change that comes in between is in the slots, and is simply asked for again.
    generation, base = node.generation, node.base_generation
    slots = rollouts.desired(session, node, since)
    nodes = service.neighbours(session, node)
    return {
        "generation": generation,
        "base": base,
        "slots": slots,
        "nodes": nodes,
        "certificates": zone_certificates.desired(session, certificates),
    }


def get_module(session: DB, node: CurrentNode, digest: str) -> Response:
    del node
    return Response(versions.content(session, digest), media_type="application/octet-stream")


def get_modules(session: DB, node: CurrentNode, body: ModulesIn) -> dict[str, Any]:
    """Contents in base64 by digest, as many as fit into one answer; the node asks for the rest."""
    del node
    found = versions.contents(session, body.digests, MODULES_BYTES)
    return {
        "modules": {digest: base64.b64encode(content).decode() for digest, content in found.items()}
    }


def report(body: ReportIn, credentials: Credentials) -> dict[str, Any]:
    """What the node runs; every report is a sign of life."""
    with transaction() as session:
        node = calling_node(session, credentials)
        if body.generation > node.generation and rollouts.overtake(session, node, body.generation):
            log.warning("node_was_ahead", node=node.name, generation=body.generation)
        moved = body.bucket != node.bucket
        _note(node, body)
        if moved:
            rollouts.data_moved(session, node)
        node_id, generation = node.id, node.generation
        crons.record(session, (crons.Outcome(**run.model_dump()) for run in body.runs))
    rollouts.record(
        node_id,
        (
            rollouts.SlotReport(slot.script_id, slot.generation, slot.state, slot.reason or "")
            for slot in body.slots
        ),
    )
    return {"generation": generation}


async def batch_content(request: Request) -> bytes:
    """The body as it came, as long as a batch may be."""
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > BATCH_BYTES_MAX:
            raise TooLarge(f"A batch has at most {BATCH_BYTES_MAX:,} bytes.")
    return bytes(content)


def take_batch(
    session: DB,
    node: CurrentNode,
    batch_id: UUID,
    content: Annotated[bytes, Depends(batch_content)],
) -> dict[str, Any]:
    """Store request records. The same batch may come again: then it was taken before."""
    batch = ingestion.read(content)
    taken = ingestion.take(session, node.id, str(batch_id), batch)
    if taken:
        telemetry.keep(session, node.id, content, len(batch.requests))
    return {"taken": taken}


def take_logs(
    batch_id: UUID,
    content: Annotated[bytes, Depends(batch_content)],
    credentials: Credentials,
) -> dict[str, Any]:
    """Store what scripts printed and threw. The same batch may come again."""
    with transaction() as session:
        node_id = calling_node(session, credentials).id
    batch = log_ingestion.read(content)
    return {"taken": log_ingestion.take(node_id, str(batch_id), batch, telemetry.keep_logs)}


class KnownTails(BaseModel):
    known: list[str] = []


class TailEvent(BaseModel):
    script_id: str
    version_id: str = ""
    event: dict[str, Any] | None = None
    dropped: int = Field(0, ge=0, le=GENERATION_MAX)


class TailEvents(BaseModel):
    events: list[TailEvent] = Field(max_length=TAIL_EVENTS_MAX)


async def get_tails(body: KnownTails, credentials: Credentials) -> dict[str, Any]:
    """The scripts that somebody tails: at once when the node knows others, else when that changes
    or after some seconds."""
    await run_in_threadpool(_recognised, credentials)
    valkey = watching.connect()
    try:
        return {"scripts": await watching.wait_for_change(valkey, body.known)}
    except redis.RedisError as error:
        raise Unavailable("Valkey does not answer.") from error
    finally:
        await valkey.aclose()


def take_events(body: TailEvents, credentials: Credentials) -> dict[str, Any]:
    """Show invocations to whoever tails their scripts."""
    _recognised(credentials)
    stacks.lead_back([(one.version_id, one.event) for one in body.events])
    found: dict[str, list[dict[str, Any]]] = {}
    for one in body.events:
        found.setdefault(one.script_id, []).append(one.model_dump(exclude={"script_id"}))
    tails.publish(found)
    return {}


def _recognised(credentials: HTTPAuthorizationCredentials | None) -> None:
    """In a transaction of its own: what comes next takes long and needs no database."""
    with transaction() as session:
        calling_node(session, credentials)


def _note(node: Node, body: ReportIn) -> None:
    node.seen_at = now()
    node.reported_generation = body.generation
    node.agent_version = body.agent_version
    node.runtime_version = body.runtime_version
    node.runtime_compatibility_date = body.runtime_compatibility_date
    node.sandbox = body.sandbox
    node.door_port = body.door_port
    node.bucket = body.bucket
    if body.condition:
        node.condition = body.condition.model_dump(mode="json")
    if body.agent_url:
        node.agent_url = service.checked_agent_url(body.agent_url)


def _problem(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)  # noqa: S101
    log.info("node_refused", path=request.url.path, reason=error.message)
    return JSONResponse({"error": error.message}, status_code=error.status)


def _invalid(request: Request, error: Exception) -> JSONResponse:
    log.info("node_request_invalid", path=request.url.path, reason=str(error))
    return JSONResponse({"error": str(error)}, status_code=400)


def _database_away(request: Request, error: Exception) -> JSONResponse:
    log.error("database_away", path=request.url.path, reason=str(error))
    return JSONResponse({"error": "the database does not answer"}, status_code=503)
