"""Paths of the dashboard: those that hold a Worker's name, those with a query."""

from collections.abc import Mapping
from typing import Annotated
from urllib.parse import urlencode
from uuid import UUID

from fastapi import Depends

from api.errors import ScriptNameInvalid, ScriptNotFound
from api.scripts import service as scripts

# `/workers/new` creates. A Worker may be called "new" too; no name begins with a hyphen.
RESERVED = frozenset({"new"})


def worker_path(name: str, *rest: object) -> str:
    """`/workers/<name>/<rest>`."""
    first = f"-{name}" if name in RESERVED else name
    return "/".join(["/workers", first, *(str(part) for part in rest)])


def with_query(path: str, query: Mapping[str, str]) -> str:
    """The path with the parameters that are not empty."""
    query = {name: text for name, text in query.items() if text}
    return f"{path}?{urlencode(query)}" if query else path


def _script_name(name: str) -> str:
    name = name.removeprefix("-")
    try:
        scripts.check_name(name)
    except ScriptNameInvalid as error:
        raise ScriptNotFound(name[:80]) from error
    return name


ScriptName = Annotated[str, Depends(_script_name)]
Id = UUID
