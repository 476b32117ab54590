"""Reading JSON that another program sent: every complaint names the field it is about."""

from collections.abc import Callable
from typing import Self, TypeVar

Result = TypeVar("Result")


class WireError(ValueError):
    """What arrived does not follow the contract; the message says where."""


class Fields:
    """One JSON object, read field by field."""

    def __init__(self, source: object, where: str) -> None:
        if not isinstance(source, dict):
            raise WireError(f"{where} must be a JSON object")
        self._source: dict[str, object] = source
        self.where = where

    def get(self, key: str) -> object:
        return self._source.get(key)

    def text(self, key: str) -> str:
        found = self.get(key)
        if not isinstance(found, str):
            raise WireError(f"{self.where}.{key} must be a string")
        return found

    def optional_text(self, key: str) -> str | None:
        return None if self.get(key) is None else self.text(key)

    def whole_number(self, key: str) -> int:
        found = self.get(key)
        if not isinstance(found, int) or isinstance(found, bool) or found < 0:
            raise WireError(f"{self.where}.{key} must be a whole number, zero or more")
        return found

    def optional_whole_number(self, key: str) -> int | None:
        return None if self.get(key) is None else self.whole_number(key)

    def texts(self, key: str) -> tuple[str, ...]:
        found = self.get(key)
        if not isinstance(found, list):
            raise WireError(f"{self.where}.{key} must be a list of strings")
        texts = [entry for entry in found if isinstance(entry, str)]
        if len(texts) != len(found):
            raise WireError(f"{self.where}.{key} must be a list of strings")
        return tuple(texts)

    def objects(self, key: str, read: Callable[[Self], Result]) -> tuple[Result, ...]:
        """Read a list of objects, each with `read`."""
        found = self.get(key)
        if not isinstance(found, list):
            raise WireError(f"{self.where}.{key} must be a list of objects")
        return tuple(
            read(type(self)(entry, f"{self.where}.{key}[{index}]"))
            for index, entry in enumerate(found)
        )
