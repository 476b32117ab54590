"""A form as it was sent, and what is wrong with it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

# Generous for anything a person types; keeps a megabyte out of a password hash.
TEXT_LENGTH_MAX = 1000


@dataclass
class Form:
    """Values by field name, and one sentence for each field that will not do.

    An error under the empty name is about the form as a whole.
    """

    values: Mapping[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    @property
    def valid(self) -> bool:
        return not self.errors

    def refuse(self, name: str, message: str) -> None:
        """Note what is wrong with a field; the first thing found stays."""
        self.errors.setdefault(name, message)

    def require(self, name: str, message: str) -> str:
        """The text of a field, refused when there is none or it cannot be stored."""
        value = self.values.get(name, "")
        if not value.strip():
            self.refuse(name, message)
        elif "\0" in value or len(value) > TEXT_LENGTH_MAX:
            self.refuse(name, f"Use at most {TEXT_LENGTH_MAX:,} ordinary characters.")
        return value


async def _sent(request: Request) -> dict[str, str]:
    # Starlette gives a form to a coroutine only; the check of CSRF has read the body before.
    return {name: text for name, text in (await request.form()).items() if isinstance(text, str)}


SentFields = Annotated[dict[str, str], Depends(_sent)]
"""Every text field of a form whose fields are not the same each time."""
