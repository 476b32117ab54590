from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from api.clock import iso
from api.deployments.flows import Deployed
from api.deployments.models import Deployment, Rollout
from api.versions.schemas import VersionOut, annotations_of, version_out


class Share(BaseModel):
    version_id: str
    percentage: float = Field(ge=0, le=100)


class ProgressOut(BaseModel):
    """How far a deployment is on one target."""

    target: str
    state: str
    reason: str
    generation: int


class DeploymentOut(BaseModel):
    """Cloudflare's deployment object; `state` and `rollouts` are ours."""

    id: str
    source: str
    strategy: str
    author_email: str
    created_on: str
    annotations: dict[str, str]
    versions: list[Share]
    state: str
    rollouts: list[ProgressOut] = []


class DeploymentList(BaseModel):
    deployments: list[DeploymentOut]


class DeploymentIn(BaseModel):
    model_config = ConfigDict(extra="ignore")

    strategy: str = Field("percentage", pattern="^percentage$")
    versions: list[Share] = Field(min_length=1)
    annotations: dict[str, str | None] = {}


class UploadedScript(BaseModel):
    """The answer to a script upload: the script, its new version, its new deployment."""

    id: str
    tag: str
    etag: str
    deployment_id: str
    handlers: list[str]
    startup_time_ms: int
    created_on: str
    modified_on: str
    version: VersionOut


class SecretIn(BaseModel):
    name: str = Field(min_length=1, max_length=512, examples=["API_KEY"])
    text: str = Field(examples=["secret"])
    type: str = Field("secret_text", pattern="^secret_text$")


class SecretOut(BaseModel):
    name: str
    type: str


class BulkSecret(BaseModel):
    name: str | None = None
    text: str
    type: str = Field("secret_text", pattern="^secret_text$")


class BulkSecretsIn(BaseModel):
    """A merge patch: null deletes a secret."""

    secrets: dict[str, BulkSecret | None] = Field(max_length=128)


class LatestVersionIn(BaseModel):
    """A merge patch of the latest version: only secrets can be changed without new code."""

    model_config = ConfigDict(extra="ignore")

    env: dict[str, BulkSecret | None] = Field({}, max_length=128)
    annotations: dict[str, str | None] = {}


class SubdomainSwitch(BaseModel):
    enabled: bool
    previews_enabled: bool | None = None


def deployment_out(deployment: Deployment, rollouts: list[Rollout] = []) -> dict[str, Any]:  # noqa: B006 - read only
    return {
        "id": deployment.id,
        "source": deployment.source,
        "strategy": "percentage",
        "author_email": deployment.author_email,
        "created_on": iso(deployment.created_at),
        "annotations": annotations_of(deployment.message, "", deployment.triggered_by),
        "versions": [
            {"version_id": version.id, "percentage": percentage}
            for version, percentage in deployment.shares
        ],
        "state": deployment.state,
        "rollouts": [rollout_out(rollout) for rollout in rollouts],
    }


def rollout_out(rollout: Rollout) -> dict[str, Any]:
    return {
        "target": rollout.target.name,
        "state": rollout.state,
        "reason": rollout.reason,
        "generation": rollout.generation,
    }


def uploaded_out(deployed: Deployed) -> dict[str, Any]:
    version, script = deployed.version, deployed.script
    return {
        "id": script.name,
        "tag": script.id,
        "etag": version.digest.removeprefix("sha256:"),
        # wrangler prints this as "Current Version ID".
        "deployment_id": version.id,
        "handlers": version.handlers,
        "startup_time_ms": version.startup_ms,
        "created_on": iso(script.created_at),
        "modified_on": iso(script.modified_at),
        "version": version_out(version),
    }
