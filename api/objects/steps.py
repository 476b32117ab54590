"""The `migrations` of an upload's metadata, as wrangler sends them (cloudflare-api.md, section 3)."""

from dataclasses import dataclass
from typing import Any

from api.errors import UploadMalformed

_NAME_LENGTH_MAX = 255


@dataclass(frozen=True)
class Move:
    """A class that gets another name, or comes from another script."""

    from_class: str
    to_class: str
    from_script: str = ""


@dataclass(frozen=True)
class Step:
    """What one tag of the configuration says."""

    new: tuple[str, ...] = ()
    new_sqlite: tuple[str, ...] = ()
    renamed: tuple[Move, ...] = ()
    deleted: tuple[str, ...] = ()
    transferred: tuple[Move, ...] = ()


@dataclass(frozen=True)
class Migrations:
    """Everything that was not applied yet, in order, and the tag the script has afterwards."""

    old_tag: str | None
    new_tag: str | None
    steps: tuple[Step, ...]

    @property
    def new_classes(self) -> frozenset[str]:
        return frozenset(name for step in self.steps for name in (*step.new, *step.new_sqlite))


def read_migrations(source: Any) -> Migrations | None:
    """None for none; raises UploadMalformed. Without `steps` the object is a single one itself."""
    if not source:
        return None
    fields = _object(source, "migrations")
    steps = fields.get("steps")
    if steps is None:
        steps = [fields]
    if not isinstance(steps, list):
        raise UploadMalformed("`migrations.steps` must be a list.")
    return Migrations(_tag(fields, "old_tag"), _tag(fields, "new_tag"), tuple(map(_step, steps)))


def _step(source: Any) -> Step:
    fields = _object(source, "migrations.steps")
    return Step(
        new=_names(fields, "new_classes"),
        new_sqlite=_names(fields, "new_sqlite_classes"),
        renamed=_moves(fields, "renamed_classes"),
        deleted=_names(fields, "deleted_classes"),
        transferred=_moves(fields, "transferred_classes"),
    )


def _object(source: Any, where: str) -> dict[str, Any]:
    if not isinstance(source, dict):
        raise UploadMalformed(f"`{where}` must be made of objects.")
    return source


def _tag(fields: dict[str, Any], key: str) -> str | None:
    tag = fields.get(key)
    return None if tag is None else _name(tag, key)


def _names(fields: dict[str, Any], key: str) -> tuple[str, ...]:
    return tuple(_name(name, key) for name in _list(fields, key))


def _moves(fields: dict[str, Any], key: str) -> tuple[Move, ...]:
    moves = [_object(one, f"migrations.{key}") for one in _list(fields, key)]
    other = key == "transferred_classes"
    return tuple(
        Move(
            _name(one.get("from"), key),
            _name(one.get("to"), key),
            _name(one.get("from_script"), key) if other else "",
        )
        for one in moves
    )


def _list(fields: dict[str, Any], key: str) -> list[Any]:
    found = fields.get(key) or []
    if not isinstance(found, list):
        raise UploadMalformed(f"`migrations.{key}` must be a list.")
    return found


def _name(name: Any, key: str) -> str:
    if not isinstance(name, str) or not name or len(name) > _NAME_LENGTH_MAX or "\0" in name:
        raise UploadMalformed(
            f"`migrations.{key}` needs text of 1 to {_NAME_LENGTH_MAX} characters."
        )
    return name
