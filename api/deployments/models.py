from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from api import ids
from api.clock import now
from api.db import Model
from api.nodes.models import Target
from api.scripts.models import Script
from api.versions.models import Version


class DeploymentState(StrEnum):
    PENDING = "pending"  #: committed; no target has acknowledged it yet
    LIVE = "live"  #: at least one target serves it and none has refused it
    SUPERSEDED = "superseded"  #: a newer deployment of the script was decided
    FAILED = "failed"  #: a target could not start it and keeps serving the one before


class RolloutState(StrEnum):
    QUEUED = "queued"  #: to be pushed, or to be pushed again
    SENT = "sent"  #: claimed by a push that is under way until `due_at`
    ACKNOWLEDGED = "acknowledged"  #: the target serves it
    FAILED = "failed"  #: the target refused it; `reason` says why
    SUPERSEDED = "superseded"  #: a newer rollout of the script to the target has taken its place


class Deployment(Model):
    """The decision which versions of a script answer."""

    __tablename__ = "deployments"

    id: Mapped[str] = mapped_column(primary_key=True, default=ids.uuid4)
    script_id: Mapped[str] = mapped_column(ForeignKey("scripts.id"), index=True)
    number: Mapped[int]
    state: Mapped[str] = mapped_column(default=DeploymentState.PENDING)
    message: Mapped[str] = mapped_column(default="")
    triggered_by: Mapped[str] = mapped_column(default="promotion")
    source: Mapped[str]
    author_id: Mapped[str]
    author_email: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=now)

    script: Mapped[Script] = relationship()
    parts: Mapped[list["DeploymentShare"]] = relationship(lazy="selectin", passive_deletes=True)

    __table_args__ = (UniqueConstraint("script_id", "number"),)

    @property
    def shares(self) -> list[tuple[Version, int]]:
        """Each version with its percentage: the larger share first, of equal ones the newer version."""
        pairs = [(part.version, part.percentage) for part in self.parts]
        return sorted(pairs, key=lambda pair: (-pair[1], -pair[0].number))

    @property
    def main(self) -> Version:
        """The version with the larger share: of two, the one that stands for the deployment."""
        return self.shares[0][0]


class DeploymentShare(Model):
    """How much of the traffic a version gets, in percent."""

    __tablename__ = "deployment_shares"

    deployment_id: Mapped[str] = mapped_column(
        ForeignKey("deployments.id", ondelete="CASCADE"), primary_key=True
    )
    version_id: Mapped[str] = mapped_column(ForeignKey("versions.id"), primary_key=True, index=True)
    percentage: Mapped[int]

    version: Mapped[Version] = relationship(lazy="joined", innerjoin=True)


class Rollout(Model):
    """One deployment's progress on one target; without a deployment, the script's withdrawal.

    The newest rollout of a script is what the target should run: its desired state.
    """

    __tablename__ = "rollouts"

    id: Mapped[str] = mapped_column(primary_key=True, default=ids.uuid4)
    target_id: Mapped[str] = mapped_column(ForeignKey("targets.id", ondelete="CASCADE"))
    script_id: Mapped[str] = mapped_column(ForeignKey("scripts.id"), index=True)
    deployment_id: Mapped[str | None] = mapped_column(
        ForeignKey("deployments.id", ondelete="CASCADE"), index=True
    )
    # The target's counter after this change: what a node that was away asks for by number.
    generation: Mapped[int]
    state: Mapped[str] = mapped_column(default=RolloutState.QUEUED)
    reason: Mapped[str] = mapped_column(default="")
    attempts: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(default=now)
    # When the sweep may take it up: after a push that was lost, or after a pause.
    due_at: Mapped[datetime] = mapped_column(default=now)
    settled_at: Mapped[datetime | None]

    target: Mapped[Target] = relationship(lazy="joined", innerjoin=True)
    script: Mapped[Script] = relationship()
    deployment: Mapped[Deployment | None] = relationship()

    __table_args__ = (
        UniqueConstraint("target_id", "generation"),
        Index(
            "ix_rollouts_due_at_waiting",
            "due_at",
            postgresql_where=text("state IN ('queued', 'sent')"),
        ),
    )
