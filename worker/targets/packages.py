"""What a push to AWS Lambda carries: each version of the slot, packed, with what opens its bindings."""

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from api import sealing
from api.db import transaction
from api.deployments.rollouts import LambdaPush
from api.versions import service as versions
from edge.lambda_zip import is_remote, pack
from edge.spec import Spec, read_spec

# From target and version to the secret of the version's function.
Credential = Callable[[Session, str, str], str]


@dataclass(frozen=True)
class Package:
    """One version, packed for this target."""

    version_id: str
    number: int
    percentage: int
    zip: bytes
    key: str
    credential: str = field(repr=False)
    """What opens the storage and the scripts that it binds; empty when it binds none."""

    @property
    def code_sha256(self) -> str:
        return base64.b64encode(hashlib.sha256(self.zip).digest()).decode()


def packages_of(push: LambdaPush, credential: Credential) -> list[Package]:
    return [_package(push, version, credential) for version in push.slot["versions"]]


def _package(
    push: LambdaPush,
    version: dict[str, Any],
    credential: Credential,
) -> Package:
    spec, key, secret = read_spec(version["spec"]), _key(version), ""
    if any(is_remote(spec, one) for one in spec.bindings):
        with transaction() as session:
            secret = credential(session, push.target_id, version["version_id"])
    return Package(
        version_id=version["version_id"],
        number=version["number"],
        percentage=version["percentage"],
        zip=pack(spec, _files(spec), key),
        key=base64.b64encode(key).decode(),
        credential=secret,
    )


def _files(spec: Spec) -> dict[str, bytes]:
    with transaction() as session:
        return {digest: versions.content(session, digest) for digest in spec.digests()}


def _key(version: dict[str, Any]) -> bytes:
    """What the version's secrets are sealed with: always the same, so that its ZIP is too."""
    return sealing.sign(f"lambda {version['version_id']}")
