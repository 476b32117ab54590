"""Reading what a cell told, which may be anything."""

from typing import Any

_NOTHING: dict[str, Any] = {}


def clean(value: Any) -> Any:
    """The value without what Postgres cannot hold: NUL and halves of surrogate pairs."""
    if isinstance(value, str):
        return text(value)
    if isinstance(value, dict):
        return {text(key): clean(one) for key, one in value.items()}
    if isinstance(value, list):
        return [clean(one) for one in value]
    return value


def text(value: Any) -> str:
    if not isinstance(value, str):
        return "" if value is None else str(value)
    return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else _NOTHING


def objects(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
