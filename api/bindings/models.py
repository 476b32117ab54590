from typing import Any

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from api import sealing
from api.bindings.kinds import SECRET_KINDS
from api.db import Model


class Binding(Model):
    """A capability that a version finds on `env`. The text of a secret is only ever stored sealed."""

    __tablename__ = "bindings"

    version_id: Mapped[str] = mapped_column(
        ForeignKey("versions.id", ondelete="CASCADE"), primary_key=True
    )
    name: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int]
    type: Mapped[str]
    attributes: Mapped[dict[str, Any]] = mapped_column(default=dict)
    sealed_text: Mapped[bytes | None]

    @classmethod
    def of(cls, binding: dict[str, Any], position: int) -> "Binding":
        """The row for a checked binding of an upload."""
        kind = binding["type"]
        attributes = {key: value for key, value in binding.items() if key not in ("name", "type")}
        sealed = sealing.seal(attributes.pop("text")) if kind in SECRET_KINDS else None
        return cls(
            name=binding["name"],
            position=position,
            type=kind,
            attributes=attributes,
            sealed_text=sealed,
        )

    def public(self) -> dict[str, Any]:
        """What the API shows: everything but the text of a secret."""
        return {"name": self.name, "type": self.type, **self.attributes}

    def revealed(self) -> dict[str, Any]:
        """What a cell is given."""
        if self.sealed_text is None:
            return self.public()
        return {**self.public(), "text": sealing.unseal(self.sealed_text)}
