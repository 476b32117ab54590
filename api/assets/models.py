from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from api import ids
from api.clock import now
from api.db import Model


class AssetSession(Model):
    """A deploy on its way: which files it will have. Its tokens name it."""

    __tablename__ = "asset_sessions"

    id: Mapped[str] = mapped_column(primary_key=True, default=ids.hex32)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    script_name: Mapped[str]
    # By path: {"hash": wrangler's own, "size": bytes}.
    manifest: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=now)


class AssetHash(Model):
    """What an account uploaded under one of wrangler's hashes.

    The hash is the uploader's word, so no account ever gets what another one uploaded under it.
    """

    __tablename__ = "asset_hashes"

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    hash: Mapped[str] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(
        ForeignKey("modules.digest", ondelete="CASCADE"), index=True
    )
