"""How a node's room for the Cache API is divided: evenly among the accounts that use it."""

import asyncio
from collections.abc import Iterable
from pathlib import Path

import httpx2
import structlog

from edge.agent.unix_http import transport_to
from edge.runtime.reach import STORE_HEADER
from edge.runtime.stores.config import OBJECTS

# The name in the ticket of the agent's own requests to a cache (edge/store/cache/cache.js).
AGENT_NAME = "agent"
TELL_SECONDS = 5.0

log: structlog.stdlib.BoundLogger = structlog.get_logger()


def share(room_bytes: int, folders: Iterable[Path], own: Path) -> int:
    """The part of `own`, one of the folders of all accounts' caches. Those where nothing was ever
    put have none."""
    users = {folder for folder in folders if any((folder / OBJECTS).glob("*"))} | {own}
    return room_bytes // len(users)


async def tell(caches: Iterable[tuple[Path, str]], share_bytes: int) -> None:
    """Have running caches keep to a new share; each is a socket and the agent's ticket. One that does
    not answer hears of it at its next start."""
    await asyncio.gather(*(_tell(socket, ticket, share_bytes) for socket, ticket in caches))


async def _tell(socket: Path, ticket: str, share_bytes: int) -> None:
    transport = transport_to(socket)
    async with httpx2.AsyncClient(transport=transport, timeout=TELL_SECONDS) as client:
        try:
            headers = {STORE_HEADER: ticket}
            await client.post("http://cache/", content=str(share_bytes), headers=headers)
        except httpx2.HTTPError as error:
            log.warning("cache_share_not_told", socket=str(socket), reason=repr(error))
