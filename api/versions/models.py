from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from api import ids
from api.bindings.models import Binding
from api.clock import now
from api.db import Model
from api.scripts.models import Script


class Module(Model):
    """The bytes of a module, stored once per digest, whoever uploads them."""

    __tablename__ = "modules"

    digest: Mapped[str] = mapped_column(primary_key=True)
    size_bytes: Mapped[int]
    content: Mapped[bytes] = mapped_column(deferred=True)
    # Unreferenced modules are pruned a day after this, never while an upload is under way.
    uploaded_at: Mapped[datetime] = mapped_column(default=now)


class AssetFile(Model):
    """A static file of a manifest, which is a module itself: a JSON object of digests by path."""

    __tablename__ = "asset_files"

    manifest: Mapped[str] = mapped_column(
        ForeignKey("modules.digest", ondelete="CASCADE"), primary_key=True
    )
    path: Mapped[str] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(ForeignKey("modules.digest"), index=True)
    size_bytes: Mapped[int]


class VersionModule(Model):
    """A module under its name in a version."""

    __tablename__ = "version_modules"

    version_id: Mapped[str] = mapped_column(
        ForeignKey("versions.id", ondelete="CASCADE"), primary_key=True
    )
    name: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int]
    type: Mapped[str]
    digest: Mapped[str] = mapped_column(ForeignKey("modules.digest"), index=True)

    module: Mapped[Module] = relationship(lazy="joined", innerjoin=True)


class SourceMap(Model):
    """Where in its sources a module of a version comes from; named as wrangler uploads it."""

    __tablename__ = "source_maps"

    version_id: Mapped[str] = mapped_column(
        ForeignKey("versions.id", ondelete="CASCADE"), primary_key=True
    )
    name: Mapped[str] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(ForeignKey("modules.digest"), index=True)


class Version(Model):
    """A bundle with its bindings: immutable, numbered, addressed by digest.

    It was started once in a throw-away cell before it was stored, so every version can run.
    """

    __tablename__ = "versions"

    id: Mapped[str] = mapped_column(primary_key=True, default=ids.uuid4)
    script_id: Mapped[str] = mapped_column(ForeignKey("scripts.id"), index=True)
    number: Mapped[int]
    digest: Mapped[str]
    size_bytes: Mapped[int]
    syntax: Mapped[str]
    main_module: Mapped[str]
    compatibility_date: Mapped[str]
    compatibility_flags: Mapped[list[str]]
    handlers: Mapped[list[str]]
    # Static files: `manifest` and `config`, as in api/versions/assets.py; None without any.
    assets: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    # What the metadata asks for beyond code and bindings: limits, placement, observability …
    options: Mapped[dict[str, Any]] = mapped_column(default=dict)
    message: Mapped[str] = mapped_column(default="")
    tag: Mapped[str] = mapped_column(default="")
    triggered_by: Mapped[str] = mapped_column(default="upload")
    source: Mapped[str]
    author_id: Mapped[str]
    author_email: Mapped[str]
    startup_ms: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(default=now)

    script: Mapped[Script] = relationship(lazy="joined", innerjoin=True)
    modules: Mapped[list[VersionModule]] = relationship(
        order_by=VersionModule.position, lazy="selectin", passive_deletes=True
    )
    source_maps: Mapped[list[SourceMap]] = relationship(
        order_by=SourceMap.name, lazy="select", passive_deletes=True
    )
    bindings: Mapped[list[Binding]] = relationship(
        order_by=Binding.position, lazy="selectin", passive_deletes=True
    )

    __table_args__ = (UniqueConstraint("script_id", "number"),)
