"""Points that a D1 database can be brought back to, kept by the node that has it. The bookmark of one
begins with its time, in milliseconds since the epoch as 16 digits of hex."""

import re
from datetime import datetime

import httpx2

from api.clock import iso_of_milliseconds
from api.d1 import queries
from api.errors import D1BookmarkNotFound, D1RestoreFailed, Problem
from api.nodes.stores import Store

_BOOKMARK = re.compile(r"[0-9a-f]{16}-[0-9a-f]{8}")


async def take(store: Store) -> str:
    """The bookmark of what is in the database now. Raises D1RestoreFailed."""
    # The file of a database that was never used is made by the store.
    await queries.facts(store)
    said = _good(await store.ask("POST", "/points")).json()
    return str(said["bookmark"])


async def take_if_possible(store: Store) -> str | None:
    """The same before and after what is done all the same."""
    try:
        return await take(store)
    except Problem:
        return None


async def newest_at(store: Store, moment: datetime) -> str:
    """The bookmark of the newest point that is not later. Raises D1BookmarkNotFound."""
    listed = _good(await store.ask("GET", "/points")).json()
    until = int(moment.timestamp() * 1000)
    for point in reversed(listed):
        if point["taken_ms"] <= until:
            return str(point["bookmark"])
    oldest = f" The oldest is of {iso_of_milliseconds(listed[0]['taken_ms'])}." if listed else ""
    raise D1BookmarkNotFound(f"The node keeps no point of the database that old.{oldest}")


async def restore(store: Store, bookmark: str) -> str:
    """Bring the database back; gives the bookmark of what was in it until then. Raises
    D1BookmarkNotFound, or D1RestoreFailed when what is there now could not be kept."""
    if not _BOOKMARK.fullmatch(bookmark):
        raise D1BookmarkNotFound("That is no bookmark of this platform. Nothing was changed.")
    await queries.facts(store)
    said = _good(await store.ask("POST", f"/points/{bookmark}/restore")).json()
    return str(said["previous_bookmark"])


def moment(bookmark: str) -> str:
    """When a point was taken, as ISO 8601."""
    return iso_of_milliseconds(int(bookmark[:16], 16))


def _good(answer: httpx2.Response) -> httpx2.Response:
    if answer.is_success:
        return answer
    said = str(answer.json()["error"])
    if answer.status_code == 404:
        raise D1BookmarkNotFound(f"{said} Nothing was changed.")
    raise D1RestoreFailed(f"{said} Nothing was changed.")
