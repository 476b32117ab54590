"""The home of an account: the one node that has its Durable Objects, and runs the Workers that have them.

A Worker that calls such a Worker runs there as well, since a service binding leads to a process on the
same node. All of an account's are on one node, so that whatever calls whatever, they are together.
"""

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api.accounts.models import Account
from api.errors import Conflict
from api.nodes import stores
from api.nodes.models import Node
from api.queues.models import Queue


def settle(session: Session, account: Account) -> None:
    """Give the account a home if it has none and there is a node."""
    if account.home_id is not None:
        return
    session.refresh(account, with_for_update={"of": Account.__table__, "key_share": True})
    if account.home_id is None:
        node = _chosen(session, account)
        account.home_id = node.id if node else None
        session.flush()


def _chosen(session: Session, account: Account) -> Node | None:
    """The node with the fewest homes, of those that answer; of an account with queues the one with the
    platform's data, which calls their consumers."""
    if session.scalar(select(Queue.id).where(Queue.account_id == account.id).limit(1)):
        return stores.data_node(session)
    homes = dict(
        session.execute(select(Account.home_id, func.count()).group_by(Account.home_id)).all()
    )
    nodes = session.scalars(select(Node).order_by(Node.created_at, Node.id)).all()
    return min(nodes, key=lambda node: (node.away, homes.get(node.id, 0)), default=None)


def leave(session: Session, node: Node, *, abandon: bool) -> list[Account]:
    """Before a node is removed: its accounts have no home then. Raises Conflict when there are any, unless
    they are to be abandoned; answers them."""
    accounts = list(session.scalars(select(Account).where(Account.home_id == node.id)))
    if accounts and not abandon:
        raise Conflict(
            f"{node.name} has the Durable Objects of {len(accounts)} "
            f"{'account' if len(accounts) == 1 else 'accounts'}. Nothing was changed. Keep a backup of its "
            "folder; with --abandon-objects they start empty on another node."
        )
    for account in accounts:
        account.home_id = None
    return accounts
