from datetime import datetime

from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from api import ids
from api.clock import now
from api.db import Model


class Bucket(Model):
    """A name for objects. They are in the store of the account, under the same name."""

    __tablename__ = "r2_buckets"

    id: Mapped[str] = mapped_column(primary_key=True, default=ids.hex32)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    name: Mapped[str]
    # As they were given: all objects are on the account's node, and every class is the same disk.
    location: Mapped[str]
    storage_class: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=now)

    __table_args__ = (UniqueConstraint("account_id", "name"),)
