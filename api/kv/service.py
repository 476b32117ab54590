"""KV namespaces: made, renamed, found, deleted. What is in them: `values.py`."""

import re
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from api import ids
from api.errors import (
    KVBindingInvalid,
    KVBindingNotFound,
    KVNamespaceNotFound,
    KVTitleInvalid,
    KVTitleTaken,
)
from api.kv.models import KVNamespace
from api.nodes import stores
from api.pagination import Listing, Page, paginate

KIND = "kv"
TITLE_LENGTH_MAX = 512
_ID = re.compile(r"[0-9a-f]{32}")
_ORDERS = {"title": KVNamespace.title, "id": KVNamespace.id}


def owned_by(account_id: str) -> Select[KVNamespace]:
    """The one door to namespaces: those of an account."""
    return select(KVNamespace).where(KVNamespace.account_id == account_id)


def get(session: Session, account_id: str, namespace_id: str) -> KVNamespace:
    """Raises KVNamespaceNotFound, for a stranger's too."""
    found = session.scalar(owned_by(account_id).where(KVNamespace.id == namespace_id))
    if found is None:
        raise KVNamespaceNotFound(f"get namespace: 'namespace not found' ({namespace_id[:80]}).")
    return found


def find(session: Session, account_id: str, title: str) -> KVNamespace | None:
    return session.scalar(owned_by(account_id).where(KVNamespace.title == title))


def page_of_namespaces(
    session: Session, account_id: str, page: Page, *, order: str = "title", descending: bool = False
) -> Listing[KVNamespace]:
    column = _ORDERS[order]
    query = owned_by(account_id).order_by(column.desc() if descending else column)
    return paginate(session, query, page)


def create(session: Session, account_id: str, title: str, id_: str | None = None) -> KVNamespace:
    """Raises KVTitleInvalid or KVTitleTaken."""
    _check_title(title)
    namespace = KVNamespace(id=id_ or ids.hex32(), account_id=account_id, title=title)
    session.add(namespace)
    _flush(session, title)
    return namespace


def rename(session: Session, account_id: str, namespace_id: str, title: str) -> KVNamespace:
    """Raises KVNamespaceNotFound, KVTitleInvalid or KVTitleTaken."""
    namespace = get(session, account_id, namespace_id)
    _check_title(title)
    namespace.title = title
    _flush(session, title)
    return namespace


def delete(session: Session, namespace: KVNamespace) -> None:
    """Forget a namespace; its keys are destroyed after the commit, whenever their node can be asked."""
    session.delete(namespace)
    stores.discard(session, namespace.account_id, KIND, namespace.id)


def remove(session: Session, account_id: str, namespace_id: str) -> None:
    """The same, if it is there."""
    found = session.scalar(owned_by(account_id).where(KVNamespace.id == namespace_id))
    if found is not None:
        delete(session, found)


def check_binding(session: Session, account_id: str, binding: dict[str, Any]) -> None:
    """Raises KVBindingInvalid or KVBindingNotFound; until the end of the transaction the namespace
    stays."""
    found = str(binding["namespace_id"])
    if not _ID.fullmatch(found):
        raise KVBindingInvalid(
            f"KV namespace '{found[:80]}' is not valid. Please verify the namespace_id in your "
            "configuration. Nothing was changed."
        )
    query = owned_by(account_id).where(KVNamespace.id == found).with_for_update(read=True)
    if session.scalar(query) is None:
        raise KVBindingNotFound(
            f"KV namespace '{found}' not found. Please verify the namespace_id in your configuration. "
            "Nothing was changed."
        )


def _check_title(title: str) -> None:
    if not title.strip() or len(title) > TITLE_LENGTH_MAX or "\0" in title:
        raise KVTitleInvalid(f"A namespace needs a title of 1 to {TITLE_LENGTH_MAX} characters.")


def _flush(session: Session, title: str) -> None:
    try:
        session.flush()
    except IntegrityError as error:
        raise KVTitleTaken(
            f"a namespace with this account ID and title already exists: {title[:80]}. "
            "Nothing was changed."
        ) from error
