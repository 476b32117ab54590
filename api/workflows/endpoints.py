"""Workflows over REST, as `wrangler workflows` asks."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Path, Query
from starlette.convertors import StringConvertor, register_url_convertor

from api.accounts.endpoints import paged
from api.clock import iso, now
from api.db import DB, transaction
from api.envelope import Envelope, PagedEnvelope, answer
from api.errors import WorkflowNotFound
from api.nodes.stores import StoreDoor
from api.pagination import LAST_PAGE, Listing, Page, RequestedPage
from api.security import CurrentAccount, CurrentActor
from api.workflows import flows, instances, service
from api.workflows.history import history
from api.workflows.schemas import (
    CreatedOut,
    DeletedInstances,
    DeletedOut,
    IdsIn,
    InstanceDetails,
    InstanceIn,
    InstancesEnvelope,
    Payload,
    StatusIn,
    StatusOut,
    TerminatedOut,
    WorkflowIn,
    WorkflowOut,
    WorkflowVersionOut,
    version_out,
    workflow_out,
)

NAME = r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$"

router = APIRouter(prefix="/accounts/{account_id}/workflows", tags=["workflows"])
# What asks a cell, which the document's tests do not have.
data_router = APIRouter(prefix=router.prefix + "/{workflow_name}", tags=["workflows data"])
WorkflowName = Annotated[str, Path(description="A workflow's name.")]
NewName = Annotated[str, Path(pattern=NAME, description="A workflow's name.")]
# As the runtime's binding takes it.
InstanceId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,100}$")]


@router.get("", response_model=PagedEnvelope[list[WorkflowOut]])
def list_workflows(
    session: DB,
    account: CurrentAccount,
    page: RequestedPage,
    search: Annotated[str, Query(pattern="^[^\x00]*$", description="Part of a name.")] = "",
) -> dict[str, Any]:
    found = service.page_of_workflows(session, account.id, page, search)
    return paged(found, [workflow_out(workflow) for workflow in found.rows])


@router.get("/{workflow_name}", response_model=Envelope[WorkflowOut])
def get_workflow(
    session: DB, account: CurrentAccount, workflow_name: WorkflowName
) -> dict[str, Any]:
    return answer(workflow_out(service.get(session, account.id, workflow_name)))


@router.put("/{workflow_name}", response_model=Envelope[WorkflowOut])
def put_workflow(actor: CurrentActor, workflow_name: NewName, body: WorkflowIn) -> dict[str, Any]:
    """Make it, or change the script and class that it runs; its instances stay."""
    return answer(workflow_out(flows.put(actor.account_id, workflow_name, body.wanted())))


@router.delete("/{workflow_name}", response_model=Envelope[DeletedOut])
def delete_workflow(actor: CurrentActor, workflow_name: WorkflowName) -> dict[str, Any]:
    """Delete it with all its instances, running ones too."""
    flows.delete(actor.account_id, workflow_name)
    return answer({"status": "ok", "success": True})


@router.get("/{workflow_name}/versions", response_model=PagedEnvelope[list[WorkflowVersionOut]])
def list_workflow_versions(
    session: DB, account: CurrentAccount, workflow_name: WorkflowName, page: RequestedPage
) -> dict[str, Any]:
    """The one that instances run."""
    workflow = service.get(session, account.id, workflow_name)
    rows = [version_out(workflow, flows.version_id(session, workflow))]
    rows = rows[page.offset :]
    return paged(Listing(rows, 1, page), rows)


@router.get("/{workflow_name}/versions/{version_id}", response_model=Envelope[WorkflowVersionOut])
def get_workflow_version(
    session: DB, account: CurrentAccount, workflow_name: WorkflowName, version_id: str
) -> dict[str, Any]:
    workflow = service.get(session, account.id, workflow_name)
    if version_id != (running := flows.version_id(session, workflow)):
        raise WorkflowNotFound(f"{workflow.name} runs version {running}, not {version_id[:80]}.")
    return answer(version_out(workflow, version_id))


# --- instances ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Opened:
    door: StoreDoor
    workflow_id: str
    version_id: str

    def about(self) -> dict[str, str]:
        return {"workflow_id": self.workflow_id, "version_id": self.version_id}


def opened_workflow(actor: CurrentActor, workflow_name: WorkflowName) -> Opened:
    with transaction() as session:
        workflow = service.get(session, actor.account_id, workflow_name)
        return Opened(
            instances.door(session, actor.account_id, workflow_name),
            workflow.id,
            flows.version_id(session, workflow),
        )


OpenedWorkflow = Annotated[Opened, Depends(opened_workflow)]
Status = Annotated[str, Query(pattern=f"^({'|'.join(instances.STATUSES)})?$")]


@data_router.get("/instances/", response_model=InstancesEnvelope, include_in_schema=False)
@data_router.get("/instances", response_model=InstancesEnvelope)
def list_instances(
    opened: OpenedWorkflow,
    page: RequestedPage,
    status: Status = "",
    date_start: datetime | None = None,
    date_end: datetime | None = None,
    cursor: Annotated[str, Query(pattern=r"^([1-9][0-9]{0,5})?$")] = "",
) -> dict[str, Any]:
    """The instances, newest first. A cursor is the number of a page."""
    wanted = Page(page=int(cursor), per_page=page.per_page) if cursor else page
    only = instances.Filter(status, date_start, date_end)
    found, total = instances.page(opened.door, wanted, only)
    rows = [{**row, **opened.about()} for row in found]
    info = Listing(rows, total, wanted).info()
    more = wanted.page < min(info["total_pages"], LAST_PAGE)
    return {**answer(rows), "result_info": {**info, "cursor": str(wanted.page + 1) if more else ""}}


@data_router.post("/instances", response_model=Envelope[CreatedOut])
def create_instance(opened: OpenedWorkflow, body: InstanceIn) -> dict[str, Any]:
    made = instances.create(opened.door, body.instance_id, body.params, _retention(body))
    return answer({"id": made, "status": "queued", **opened.about()})


def _retention(instance: InstanceIn) -> dict[str, Any] | None:
    return instance.instance_retention.model_dump() if instance.instance_retention else None


@data_router.post("/instances/batch", response_model=Envelope[list[CreatedOut]])
def create_instances(
    opened: OpenedWorkflow, body: Annotated[list[InstanceIn], Body(min_length=1, max_length=100)]
) -> dict[str, Any]:
    """Create up to 100; those whose id is in use are left out."""
    wanted = [(one.instance_id, one.params, _retention(one)) for one in body]
    made = instances.create_many(opened.door, wanted)
    return answer([{"id": id_, "status": "queued", **opened.about()} for id_ in made])


@data_router.post("/instances/batch/delete", response_model=Envelope[DeletedInstances])
def delete_instances(opened: OpenedWorkflow, body: IdsIn) -> dict[str, Any]:
    """Delete instances, running ones too, with all that they stored."""
    return answer(instances.delete_many(opened.door, body.instances))


@data_router.put("/instances/terminate", response_model=Envelope[TerminatedOut])
def terminate_instances(opened: OpenedWorkflow, status: Status = "") -> dict[str, Any]:
    """Terminate all instances that go on, or those of one status; done when this answers."""
    statuses = (status,) if status else instances.GOING_ON
    ended = instances.terminate_all(opened.door, statuses)
    return answer({"status": "ok", "instancesTerminated": ended})


class InstancePart(StringConvertor):
    """An instance's id, and neither of the words that have paths of their own."""

    regex = "(?!(?:batch|terminate)(?:/|$))[^/]+"


register_url_convertor("instance", InstancePart())


@data_router.get("/instances/{instance_id:instance}", response_model=Envelope[InstanceDetails])
def get_instance(opened: OpenedWorkflow, instance_id: InstanceId) -> dict[str, Any]:
    """An instance with its steps and their attempts."""
    said = instances.describe(opened.door, instance_id)
    told = history(said["events"])
    status = said["status"]
    return answer(
        {
            "id": instance_id,
            "status": status,
            "success": status == "complete" if status in instances.ENDED else None,
            "versionId": opened.version_id,
            "trigger": {"source": "unknown"},
            "output": said["output"],
            "error": said["error"],
            "step_count": len(told["steps"]),
            **told,
        }
    )


@data_router.patch("/instances/{instance_id}/status", response_model=Envelope[StatusOut])
def change_instance(
    opened: OpenedWorkflow, instance_id: InstanceId, body: StatusIn
) -> dict[str, Any]:
    """Pause, resume, terminate or restart an instance."""
    given = body.from_step.model_dump(exclude_none=True) if body.from_step else None
    status = instances.change(
        opened.door, instance_id, body.status, from_step=given, rollback=body.rollback
    )
    return answer({"status": status, "timestamp": iso(now())})


@data_router.post("/instances/{instance_id}/events/{event_type}", response_model=Envelope[None])
def send_event(
    opened: OpenedWorkflow,
    instance_id: InstanceId,
    event_type: Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,100}$")],
    body: Annotated[Payload, Body()] = None,
) -> dict[str, Any]:
    """Send what `step.waitForEvent` waits for; the body is its payload."""
    instances.send_event(opened.door, instance_id, event_type, body)
    return answer(None)
