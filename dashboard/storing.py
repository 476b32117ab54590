"""Asking the store of an account's data from a page: pages run in threads, its client does not."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from anyio import from_thread
from sqlalchemy.orm import Session

from api.errors import Unavailable
from api.nodes import stores
from api.nodes.stores import Store, StoreDoor

Result = TypeVar("Result")


def door(session: Session, account_id: str, kind: str, name: str) -> StoreDoor | None:
    """The way to the data; None while there is no node."""
    try:
        return stores.door(session, account_id, kind, name)
    except Unavailable:
        return None


def asked(door: StoreDoor | None, ask: Callable[[Store], Awaitable[Result]]) -> Result:
    """What the store answers. Raises Unavailable."""
    if door is None:
        raise Unavailable("No node has enrolled yet, so there is nowhere to keep data.")

    async def asking() -> Result:
        async with stores.opened(door) as store:
            return await ask(store)

    return from_thread.run(asking)
