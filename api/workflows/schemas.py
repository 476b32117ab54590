import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

from api.clock import iso
from api.envelope import Envelope, PageOf
from api.workflows.flows import Wanted
from api.workflows.models import Workflow

InstanceId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,99}$")]


def _no_constants(value: JsonValue) -> JsonValue:
    json.dumps(value, allow_nan=False)  # NaN is JSON for Python alone
    return value


# What a person's code is given: the parameters of an instance, the payload of an event.
Payload = Annotated[JsonValue, AfterValidator(_no_constants)]


class Limits(BaseModel):
    steps: int | None = Field(None, ge=1, le=25_000)


class Retention(BaseModel):
    """Milliseconds, or text such as `7 days`."""

    success_retention: int | str | None = None
    error_retention: int | str | None = None


class WorkflowIn(BaseModel):
    script_name: str = Field(min_length=1, max_length=255, pattern="^[^\x00]*$")
    class_name: str = Field(min_length=1, max_length=255, pattern="^[^\x00]*$")
    limits: Limits | None = None
    default_retention: Retention | None = None
    jurisdiction: str | None = Field(None, max_length=64, pattern="^[^\x00]*$")
    schedules: list[dict[str, Any]] | None = None
    concurrency: Any = None

    def wanted(self) -> Wanted:
        options = self.model_dump(exclude={"script_name", "class_name"}, exclude_none=True)
        return Wanted(self.script_name, self.class_name, options)


class WorkflowOut(BaseModel):
    id: str
    name: str
    script_name: str
    class_name: str
    created_on: str
    modified_on: str
    jurisdiction: str | None = None


class WorkflowVersionOut(BaseModel):
    """The code that instances run: the deployed version of the script."""

    id: str
    workflow_id: str
    class_name: str
    created_on: str
    modified_on: str


class DeletedOut(BaseModel):
    status: str = "ok"
    success: bool = True


class InstanceIn(BaseModel):
    instance_id: InstanceId | None = Field(None, description="Chosen if there is none.")
    params: Payload = None
    instance_retention: Retention | None = None


class CreatedOut(BaseModel):
    id: str
    status: str
    version_id: str
    workflow_id: str


class InstanceOut(BaseModel):
    """An instance in a list."""

    id: str
    status: str
    created_on: str
    modified_on: str
    started_on: str | None = None
    ended_on: str | None = None
    version_id: str
    workflow_id: str


class InstancesPage(PageOf):
    """A cursor that is not empty leads to the next page."""

    cursor: str


class InstancesEnvelope(Envelope[list[InstanceOut]]):
    result_info: InstancesPage


class InstanceDetails(BaseModel):
    """An instance with its steps."""

    model_config = ConfigDict(extra="allow")

    status: str
    success: bool | None
    steps: list[dict[str, Any]]


class FromStep(BaseModel):
    name: str = Field(max_length=256)
    count: int | None = Field(None, ge=1)
    type: Literal["do", "sleep", "waitForEvent"] | None = None


class StatusIn(BaseModel):
    status: Literal["pause", "resume", "terminate", "restart"]
    from_step: FromStep | None = Field(None, alias="from", description="Of a restart.")
    rollback: bool = Field(False, description="Of a terminate.")


class StatusOut(BaseModel):
    status: str
    timestamp: str


class IdsIn(BaseModel):
    instances: list[str] = Field(min_length=1, max_length=100)


class DeletedInstances(BaseModel):
    deleted: list[dict[str, Any]]
    errors: list[dict[str, Any]]


class TerminatedOut(BaseModel):
    status: str
    instancesTerminated: int  # noqa: N815 - in the style of Cloudflare's API


def workflow_out(workflow: Workflow) -> dict[str, Any]:
    return {
        "id": workflow.id,
        "name": workflow.name,
        "script_name": workflow.script.name,
        "class_name": workflow.class_name,
        "created_on": iso(workflow.created_at),
        "modified_on": iso(workflow.modified_at),
        "jurisdiction": workflow.options.get("jurisdiction"),
    }


def version_out(workflow: Workflow, version_id: str) -> dict[str, Any]:
    return {
        "id": version_id,
        "workflow_id": workflow.id,
        "class_name": workflow.class_name,
        "created_on": iso(workflow.created_at),
        "modified_on": iso(workflow.modified_at),
    }
