from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from api import ids
from api.clock import now
from api.db import Model

# Six times the interval at which a node reports: a slow moment is not an absence.
AWAY_AFTER = timedelta(seconds=30)


class CertificateAuthority(Model):
    """The CA that control plane and nodes trust for each other; there is one."""

    __tablename__ = "certificate_authorities"

    id: Mapped[int] = mapped_column(primary_key=True)
    certificate: Mapped[str]
    sealed_key: Mapped[bytes]
    created_at: Mapped[datetime] = mapped_column(default=now)


class JoinToken(Model):
    """Lets one node enrol, once."""

    __tablename__ = "join_tokens"

    id: Mapped[str] = mapped_column(primary_key=True, default=ids.hex32)
    digest: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class Target(Model):
    """Where a rollout goes. An edge node today; a Lambda function is the other kind."""

    __tablename__ = "targets"

    id: Mapped[str] = mapped_column(primary_key=True, default=ids.hex32)
    kind: Mapped[str]
    name: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime] = mapped_column(default=now)

    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "target"}


class DiscardedData(Model):
    """What a store still has to destroy: a namespace, a database … that was deleted."""

    __tablename__ = "discarded_data"

    id: Mapped[str] = mapped_column(primary_key=True, default=ids.hex32)
    account_id: Mapped[str]
    kind: Mapped[str]
    name: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=now)


class Node(Target):
    """One edge machine: what it should run (`generation`) and what it says that it runs."""

    __tablename__ = "nodes"

    id: Mapped[str] = mapped_column(ForeignKey("targets.id"), primary_key=True)
    agent_url: Mapped[str]
    token_digest: Mapped[str] = mapped_column(unique=True)
    sealed_push_key: Mapped[bytes]
    # Counts every change of this node's desired state, without gaps: see deployments/rollouts.py.
    generation: Mapped[int] = mapped_column(default=0)
    # What this node was told up to here is void, unless it was told again since: it was ahead of a
    # restored database.
    base_generation: Mapped[int] = mapped_column(default=0)
    reported_generation: Mapped[int] = mapped_column(default=0)
    seen_at: Mapped[datetime | None]
    agent_version: Mapped[str] = mapped_column(default="")
    runtime_version: Mapped[str] = mapped_column(default="")
    runtime_compatibility_date: Mapped[str] = mapped_column(default="")
    sandbox: Mapped[str] = mapped_column(default="none")
    # Where other nodes bring visitors of scripts that run on this one alone, at the host of `agent_url`;
    # 0 until it says so.
    door_port: Mapped[int] = mapped_column(default=0, server_default="0")
    # Where it keeps the data of accounts, `s3://…`; empty for its own disk.
    bucket: Mapped[str] = mapped_column(default="", server_default="")
    # `disk_total_bytes`, `disk_free_bytes` of its folder, and its `certificates`; {} until it says so.
    condition: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")

    __mapper_args__ = {"polymorphic_identity": "node"}

    @property
    def away(self) -> bool:
        """Whether it has missed several reports; one that has just enrolled has a moment's time."""
        return (self.seen_at or self.created_at) < now() - AWAY_AFTER
