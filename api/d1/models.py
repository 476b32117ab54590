from datetime import datetime

from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from api import ids
from api.clock import now
from api.db import Model


class D1Database(Model):
    """A D1 database: its tables are on the node that has the account's data."""

    __tablename__ = "d1_databases"

    id: Mapped[str] = mapped_column(primary_key=True, default=ids.uuid4)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    name: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=now)

    __table_args__ = (UniqueConstraint("account_id", "name"),)
