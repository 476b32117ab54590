from typing import Any

from pydantic import BaseModel, Field

from api.clock import iso
from api.targets.models import LambdaTarget


class TargetIn(BaseModel):
    """A Lambda target: where, as what, with how much, and how Skerry gets in."""

    name: str
    region: str
    role_arn: str
    memory_mib: int = 256
    timeout_seconds: int = 30
    architecture: str = "arm64"
    log_retention_days: int = 30
    access_role_arn: str = ""
    access_key_id: str = ""
    secret_access_key: str = Field(default="", repr=False)


class TargetOut(BaseModel):
    id: str
    name: str
    region: str
    role_arn: str
    memory_mib: int
    timeout_seconds: int
    architecture: str
    log_retention_days: int
    access_role_arn: str
    external_id: str
    access_key_id: str
    created_on: str


class TargetId(BaseModel):
    id: str


class PermissionOut(BaseModel):
    """Whether the credentials have one permission, and what AWS said if not."""

    permission: str
    granted: bool
    reason: str


def target_out(target: LambdaTarget) -> dict[str, Any]:
    fields = TargetOut.model_fields.keys() - {"created_on"}
    return {
        **{name: getattr(target, name) for name in fields},
        "created_on": iso(target.created_at),
    }
