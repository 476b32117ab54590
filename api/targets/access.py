"""Getting into an AWS account: keys, roles, and clients that wait patiently.

boto3 is imported by the first who gets in: every process of the control plane imports this module, few ever do.
"""

from dataclasses import dataclass, field
from functools import cache
from typing import Any

from api import sealing
from api.settings import settings
from api.targets.models import LambdaTarget

SESSION_NAME = "skerry"


@dataclass(frozen=True)
class Access:
    """How to get into one target; read in a transaction, used in none."""

    region: str
    access_role_arn: str
    external_id: str
    access_key_id: str
    secret: str = field(repr=False)

    @classmethod
    def of(cls, target: LambdaTarget) -> "Access":
        secret = sealing.unseal(target.sealed_secret) if target.sealed_secret else ""
        return cls(
            target.region, target.access_role_arn, target.external_id, target.access_key_id, secret
        )

    def session(self) -> Any:
        """A session with the credentials; asks AWS when a role has to be assumed."""
        own = _session(
            self.region,
            aws_access_key_id=self.access_key_id or None,
            aws_secret_access_key=self.secret or None,
        )
        if not self.access_role_arn:
            return own
        assumed = client(own, "sts").assume_role(
            RoleArn=self.access_role_arn,
            RoleSessionName=SESSION_NAME,
            ExternalId=self.external_id,
        )["Credentials"]
        return _session(
            self.region,
            aws_access_key_id=assumed["AccessKeyId"],
            aws_secret_access_key=assumed["SecretAccessKey"],
            aws_session_token=assumed["SessionToken"],
        )


@cache
def _loader() -> Any:
    """Descriptions of AWS's APIs: megabytes of JSON that are read once."""
    import botocore.loaders  # noqa: PLC0415

    return botocore.loaders.create_loader()


def _session(region: str, **credentials: str | None) -> Any:
    import boto3  # noqa: PLC0415
    import botocore.session  # noqa: PLC0415

    core = botocore.session.get_session()
    core.register_component("data_loader", _loader())
    return boto3.Session(botocore_session=core, region_name=region, **credentials)


@cache
def _patience() -> Any:
    """A throttled call is made again with growing pauses before anybody hears of it."""
    from botocore.config import Config  # noqa: PLC0415

    return Config(
        retries={"mode": "standard", "total_max_attempts": 5},
        connect_timeout=5,
        read_timeout=60,
        user_agent_extra="skerry",
    )


def client(session: Any, service: str) -> Any:
    endpoint = settings().aws_endpoint_url or None
    return session.client(service, config=_patience(), endpoint_url=endpoint)
