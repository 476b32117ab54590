"""The way to an account's data: which node has it, and asking its store there.

One node has all data of the platform, its first one, unless all nodes keep it in one bucket. Durable
Objects are at their account's home (homes.py) in any case.
"""

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import httpx2
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from api import sealing
from api.accounts.models import Account
from api.errors import Unavailable
from api.nodes import authority
from api.nodes.models import DiscardedData, Node
from api.objects.models import KIND as OBJECTS
from api.queue import enqueue
from api.settings import settings
from api.workflows.models import KIND as WORKFLOWS

# What is asked for at the account's home.
AT_HOME = (OBJECTS, WORKFLOWS)
# What a store says in words, and which limit ended it.
REASON_HEADER = "x-skerry-reason"
OUTCOME_HEADER = "x-skerry-outcome"
_AWAY = "Nothing is lost. Try again when the node is back; the dashboard's Nodes page shows it."


@dataclass(frozen=True)
class StoreDoor:
    """How to ask a node for something: one namespace, database … of an account, or one of its scripts."""

    node: str
    """The node's name, for people."""
    url: str
    server_name: str
    push_key: str = field(repr=False)
    authority: str


def data_node(session: Session) -> Node | None:
    """The node that has the platform's data; None before the first has enrolled."""
    return session.scalar(select(Node).order_by(Node.created_at, Node.id).limit(1))


def _keeper(session: Session, account_id: str, kind: str) -> Node | None:
    """The node with an account's data of a kind: its Durable Objects and workflows are at its home."""
    account = session.get(Account, account_id) if kind in AT_HOME else None
    home = session.get(Node, account.home_id) if account and account.home_id else None
    if home or kind in AT_HOME or not shared_bucket(session):
        return home or data_node(session)
    nodes = session.scalars(select(Node).order_by(Node.created_at, Node.id)).all()
    return min(nodes, key=lambda node: node.away, default=None)


def shared_bucket(session: Session) -> str | None:
    """The bucket in which all nodes keep the data of accounts; None when they keep it elsewhere."""
    buckets = set(session.scalars(select(Node.bucket).distinct()))
    return (buckets.pop() or None) if len(buckets) == 1 else None


def node_count(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(Node)) or 0


def door(session: Session, account_id: str, kind: str, name: str) -> StoreDoor:
    """The way to a name that the caller has found to be the account's. Raises Unavailable when there
    is no node."""
    node = _keeper(session, account_id, kind)
    if node is None:
        raise Unavailable("No node has enrolled yet, so there is nowhere to keep data.")
    return door_of(session, node, f"/stores/{kind}/{account_id}/{name}")


def door_of(session: Session, node: Node, path: str) -> StoreDoor:
    """The way to a path of this node's agent."""
    return StoreDoor(
        node=node.name,
        url=f"{node.agent_url}{path}",
        server_name=authority.node_name(node.id),
        push_key=sealing.unseal(node.sealed_push_key),
        authority=authority.ensure(session).certificate,
    )


class Store:
    """An opened door: requests in the store's own protocol."""

    def __init__(self, door: StoreDoor, client: httpx2.AsyncClient) -> None:
        self._door = door
        self._client = client

    async def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | AsyncIterator[bytes] | None = None,
    ) -> httpx2.Response:
        """The answer with its body still to be read; `path` is encoded already, and may have a query
        that is as well. Raises Unavailable when the node does not answer."""
        url = httpx2.URL(self._door.url + path)
        if query:
            url = url.copy_with(params=dict(query))
        request = self._client.build_request(
            method,
            url,
            content=content,
            headers={"Authorization": f"Bearer {self._door.push_key}", **(headers or {})},
            extensions={"sni_hostname": self._door.server_name},
        )
        try:
            answer = await self._client.send(request, stream=True)
        except (httpx2.TransportError, ssl.SSLError) as error:
            raise Unavailable(
                f"{self._door.node}, which has the data, does not answer. {_AWAY}"
            ) from error
        if answer.status_code == 503 and OUTCOME_HEADER in answer.headers:
            return await self._ended(answer)
        return answer

    async def ask(self, method: str, path: str, **arguments: Any) -> httpx2.Response:
        """The same with the body read."""
        answer = await self.send(method, path, **arguments)
        await answer.aread()
        return answer

    async def _ended(self, answer: httpx2.Response) -> httpx2.Response:
        await answer.aread()
        raise StoreEnded(
            f"The store on {self._door.node} ended before it answered. {_AWAY}",
            answer.headers[OUTCOME_HEADER],
        )


class StoreEnded(Unavailable):
    """The store's process ended while it worked on the request."""

    def __init__(self, message: str, outcome: str) -> None:
        super().__init__(message)
        self.outcome = outcome
        """`exceeded_cpu` or `exceeded_memory` when a limit ended it, else empty."""


@asynccontextmanager
async def opened(door: StoreDoor) -> AsyncIterator[Store]:
    client = client_of(door)
    try:
        yield Store(door, client)
    finally:
        await client.aclose()


def client_of(door: StoreDoor) -> httpx2.AsyncClient:
    """For who closes it by itself, after an answer was passed on."""
    timeout = httpx2.Timeout(settings().store_timeout_seconds, connect=5.0)
    return httpx2.AsyncClient(verify=trust(door.authority), trust_env=False, timeout=timeout)


@lru_cache(maxsize=4)
def trust(certificate: str) -> ssl.SSLContext:
    """The installation's own authority and no other."""
    return ssl.create_default_context(cadata=certificate)


# --- what is deleted ----------------------------------------------------------------------------


def discard(session: Session, account_id: str, kind: str, name: str) -> None:
    """Have a store destroy what it holds under a name, after the commit. The row is the work."""
    row = DiscardedData(account_id=account_id, kind=kind, name=name)
    session.add(row)
    session.flush()
    enqueue(session, "data.destroy", discarded_id=row.id)


def discarded(session: Session) -> list[str]:
    """Ids of what still has to be destroyed."""
    return list(session.scalars(select(DiscardedData.id).order_by(DiscardedData.created_at)))


def door_of_discarded(session: Session, discarded_id: str) -> StoreDoor | None:
    """Where to have it destroyed; None when that is done."""
    row = session.get(DiscardedData, discarded_id)
    return None if row is None else door(session, row.account_id, row.kind, row.name)


async def destroy(discarded: StoreDoor) -> bool:
    """Ask the node to destroy it; False when that is to be tried again. Twice does no harm."""
    async with opened(discarded) as store:
        return (await store.ask("POST", "/destroy")).is_success


def destroyed(session: Session, discarded_id: str) -> None:
    session.execute(delete(DiscardedData).where(DiscardedData.id == discarded_id))
