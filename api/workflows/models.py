from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from api import ids
from api.clock import now
from api.db import Model
from api.scripts.models import Script

# Of their path in the agent's API.
KIND = "workflows"


class Workflow(Model):
    """A class of a script's whose runs are kept: its instances are at the account's home
    (nodes/homes.py), in a folder with this id, beside those of the script's Durable Objects."""

    __tablename__ = "workflows"

    id: Mapped[str] = mapped_column(primary_key=True, default=ids.hex32)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    script_id: Mapped[str] = mapped_column(ForeignKey("scripts.id"))
    name: Mapped[str]
    # As it was deployed last; each version's binding says what runs with it.
    class_name: Mapped[str]
    # What wrangler sends beside the class: `limits`, `default_retention`, `jurisdiction`.
    options: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict)
    created_at: Mapped[datetime] = mapped_column(default=now)
    modified_at: Mapped[datetime] = mapped_column(default=now)

    script: Mapped[Script] = relationship(lazy="joined", innerjoin=True)

    __table_args__ = (UniqueConstraint("account_id", "name"),)
