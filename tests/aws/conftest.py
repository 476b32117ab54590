"""What is compared with AWS Lambda is a node, as in tests/edge; what is pushed to is an AWS that is strict."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.config import Config
from sqlalchemy.orm import Session

from api.settings import settings
from api.targets import access, service as targets
from api.targets.models import LambdaTarget
from api.targets.schemas import TargetIn
from tests.aws.cloud import KEY_ID, ROLE, SECRET, Cloud, running_cloud
from tests.cast import Tenant
from tests.edge.conftest import folder, gateway
from worker.targets import aws_lambda

__all__ = ["folder", "gateway"]


@pytest.fixture(scope="session")
def running_aws() -> Iterator[Cloud]:
    with (
        tempfile.TemporaryDirectory(prefix="skerry-aws-") as folder,
        running_cloud(Path(folder)) as cloud,
    ):
        yield cloud


@pytest.fixture
def cloud(running_aws: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    monkeypatch.setattr(settings(), "aws_endpoint_url", running_aws.url)
    monkeypatch.setattr(aws_lambda, "POLL_SECONDS", 0.01)
    patient = access._patience().merge(
        Config(retries={"mode": "standard", "total_max_attempts": 3})
    )
    monkeypatch.setattr(access, "_patience", lambda: patient)
    running_aws.calls.clear()
    yield running_aws
    running_aws.denied, running_aws.throttled, running_aws.broken_at = set(), 0, ""
    running_aws.keys = {KEY_ID}


@pytest.fixture
def target(session: Session, alice: Tenant, cloud: Cloud) -> LambdaTarget:
    wanted = TargetIn(
        name="aws",
        region="eu-central-1",
        role_arn=ROLE,
        access_key_id=KEY_ID,
        secret_access_key=SECRET,
    )
    target = targets.add(session, alice.id, wanted)
    session.commit()
    return target
