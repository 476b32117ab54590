from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from api import ids
from api.accounts.models import Account
from api.clock import now
from api.db import Model
from api.scripts import observability, scaling


class Script(Model):
    """A name that can hold versions.

    A deleted script stays as a tombstone (without versions and secrets), because nodes that are
    away still have to learn that it is gone.
    """

    __tablename__ = "scripts"

    id: Mapped[str] = mapped_column(primary_key=True, default=ids.hex32)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    name: Mapped[str]
    # Cloudflare's default: a script is reachable after POST …/subdomain, which wrangler sends.
    subdomain_enabled: Mapped[bool] = mapped_column(default=False)
    # What PATCH …/script-settings keeps: tags, logpush, tail_consumers, observability, scaling.
    settings: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created_at: Mapped[datetime] = mapped_column(default=now)
    modified_at: Mapped[datetime] = mapped_column(default=now)
    deleted_at: Mapped[datetime | None]
    # The numbers last given to a version and to a deployment of this script.
    version_number: Mapped[int] = mapped_column(default=0)
    deployment_number: Mapped[int] = mapped_column(default=0)
    # The tag of the last migration of its Durable Objects that was applied.
    migration_tag: Mapped[str | None]
    # Whether it runs on its account's home alone, because it has Durable Objects or calls one that does.
    at_home: Mapped[bool] = mapped_column(default=False, server_default="false")

    account: Mapped[Account] = relationship(lazy="joined", innerjoin=True)

    @property
    def scaling(self) -> scaling.Scaling:
        """What its nodes are told of its cells."""
        return scaling.stored(self.settings)

    @property
    def home_node(self) -> str | None:
        """The name of the node that alone runs it; None when all do."""
        return self.account.home_name if self.at_home else None

    @property
    def home_id(self) -> str | None:
        """The node that alone runs it; None when all do."""
        return self.account.home_id if self.at_home else None

    def observed(self, asked: Any) -> observability.Observed | None:
        """What is stored of its invocations. `asked` is what its version says, which counts as long
        as the script itself says nothing."""
        own = self.settings.get("observability")
        return observability.read(asked if own is None else own)

    __table_args__ = (
        Index(
            "uq_scripts_account_id_name_present",
            "account_id",
            "name",
            unique=True,
            postgresql_where=text("deleted_at IS NULL"),
        ),
    )
