from typing import Any

from pydantic import BaseModel, ConfigDict

from api.scripts.scaling import Scaling

# Cloudflare calls the parts of a script that stand beside each other so; there is this one.
ENVIRONMENT = "production"


class ScriptOut(BaseModel):
    """A row of the list of scripts."""

    id: str
    tag: str
    etag: str | None = None
    handlers: list[str] = []
    created_on: str
    modified_on: str
    usage_model: str = "standard"
    migration_tag: str | None = None
    tags: list[str] = []
    home_node: str | None = None
    """Of our own: the name of the node that alone runs it, because its Durable Objects are there."""


class ScriptOfService(BaseModel):
    id: str
    tag: str
    tags: list[str]
    last_deployed_from: str
    migration_tag: str | None = None
    created_on: str
    modified_on: str


class EnvironmentOut(BaseModel):
    environment: str
    created_on: str
    modified_on: str
    script: ScriptOfService


class ServiceOut(BaseModel):
    id: str
    created_on: str
    modified_on: str
    default_environment: EnvironmentOut
    environments: list[EnvironmentOut]


class SubdomainState(BaseModel):
    enabled: bool
    previews_enabled: bool


class SubdomainWithUrl(SubdomainState):
    url: str


class WorkerOut(BaseModel):
    """Cloudflare's newer view of a script, under `/workers/workers`."""

    id: str
    name: str
    created_on: str
    updated_on: str
    subdomain: SubdomainWithUrl
    tags: list[str] = []
    logpush: bool = False
    tail_consumers: list[dict[str, Any]] = []
    home_node: str | None = None


class ScriptSettings(BaseModel):
    """Settings that belong to the script, not to a version; `scaling` is ours."""

    model_config = ConfigDict(extra="allow")

    tags: list[str] | None = None
    logpush: bool | None = None
    tail_consumers: list[dict[str, Any]] | None = None
    observability: dict[str, Any] | None = None
    scaling: Scaling | None = None


class ReferencesOut(BaseModel):
    services: dict[str, Any]
    durable_objects: list[dict[str, Any]]
    dispatch_outbounds: list[dict[str, Any]]
