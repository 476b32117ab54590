from datetime import datetime

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from api import ids
from api.clock import now
from api.db import Model
from api.nodes.models import Target


class LambdaTarget(Target):
    """AWS Lambda in one region of somebody's AWS account, and how to get in there."""

    __tablename__ = "lambda_targets"

    id: Mapped[str] = mapped_column(ForeignKey("targets.id"), primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    region: Mapped[str]
    # What the functions run as.
    role_arn: Mapped[str]
    memory_mib: Mapped[int]
    timeout_seconds: Mapped[int]
    architecture: Mapped[str]
    log_retention_days: Mapped[int]
    # A role that Skerry assumes, if any; the other account's owner asks for this external id.
    access_role_arn: Mapped[str] = mapped_column(default="")
    external_id: Mapped[str]
    # A key of the target's own; without one, whatever the process itself has (a profile, a role).
    access_key_id: Mapped[str] = mapped_column(default="")
    sealed_secret: Mapped[bytes | None]
    # Counts every change of this target's desired state, as a node's does.
    generation: Mapped[int] = mapped_column(default=0)

    __mapper_args__ = {"polymorphic_identity": "lambda"}


class ChosenTarget(Model):
    """A script that goes to a Lambda target, besides the nodes that have every script."""

    __tablename__ = "chosen_targets"

    script_id: Mapped[str] = mapped_column(ForeignKey("scripts.id"), primary_key=True)
    target_id: Mapped[str] = mapped_column(
        ForeignKey("targets.id", ondelete="CASCADE"), primary_key=True, index=True
    )


class LambdaFunction(Model):
    """What is known of a script's function on a target, since the last push or look."""

    __tablename__ = "lambda_functions"

    target_id: Mapped[str] = mapped_column(
        ForeignKey("targets.id", ondelete="CASCADE"), primary_key=True
    )
    script_id: Mapped[str] = mapped_column(ForeignKey("scripts.id"), primary_key=True)
    name: Mapped[str]
    url: Mapped[str]
    # What differs from the last push, a sentence a line; empty: nothing.
    drift: Mapped[str] = mapped_column(default="")
    pushed_at: Mapped[datetime] = mapped_column(default=now)
    looked_at: Mapped[datetime] = mapped_column(default=now)


class FunctionCredential(Model):
    """What opens the storage and the scripts that one version binds, for its function on one target.

    The function has the secret in its configuration; here is its digest, to recognise it, and the
    sealed text, so that a push that is made again gives the function the same one.
    """

    __tablename__ = "function_credentials"

    id: Mapped[str] = mapped_column(primary_key=True, default=ids.hex32)
    target_id: Mapped[str] = mapped_column(ForeignKey("targets.id", ondelete="CASCADE"), index=True)
    script_id: Mapped[str] = mapped_column(ForeignKey("scripts.id", ondelete="CASCADE"), index=True)
    version_id: Mapped[str] = mapped_column(
        ForeignKey("versions.id", ondelete="CASCADE"), index=True
    )
    digest: Mapped[str] = mapped_column(unique=True)
    sealed_secret: Mapped[bytes]
    issued_at: Mapped[datetime] = mapped_column(default=now)
    # Since when the function has another one, or another version; it is refused a little later.
    replaced_at: Mapped[datetime | None]
