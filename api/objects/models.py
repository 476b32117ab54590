from datetime import datetime

from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from api import ids
from api.clock import now
from api.db import Model
from api.scripts.models import Script

# Of the folder on a node, and of its path in the agent's API.
KIND = "objects"


class ObjectNamespace(Model):
    """A class of a script's whose instances are Durable Objects: they are at the account's home
    (nodes/homes.py), in a folder with this id, whatever the class is called and whose it is."""

    __tablename__ = "object_namespaces"

    id: Mapped[str] = mapped_column(primary_key=True, default=ids.hex32)
    script_id: Mapped[str] = mapped_column(ForeignKey("scripts.id"))
    class_name: Mapped[str]
    # Whether its objects may use SQL: what `new_sqlite_classes` says. It never changes.
    sqlite: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(default=now)

    script: Mapped[Script] = relationship(lazy="joined", innerjoin=True)

    __table_args__ = (UniqueConstraint("script_id", "class_name"),)
