"""D1 databases: made, found, deleted. What is in them: `queries.py`."""

import re
from typing import Any

from sqlalchemy import Select, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from api import ids
from api.d1.models import D1Database
from api.errors import D1BindingNotFound, D1DatabaseNotFound, D1NameInvalid, D1NameTaken
from api.nodes import stores
from api.pagination import Listing, Page, paginate

KIND = "d1"
NAME_LENGTH_MAX = 64
_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{NAME_LENGTH_MAX - 1}}}")


def owned_by(account_id: str) -> Select[D1Database]:
    """The one door to databases: those of an account."""
    return select(D1Database).where(D1Database.account_id == account_id)


def get(session: Session, account_id: str, id_or_name: str) -> D1Database:
    """By its id or its name; raises D1DatabaseNotFound, for a stranger's too."""
    named = or_(D1Database.id == id_or_name, D1Database.name == id_or_name)
    # An id first: a database may be called like the id of another one.
    found = session.scalars(
        owned_by(account_id).where(named).order_by(D1Database.id != id_or_name)
    ).first()
    if found is None:
        raise D1DatabaseNotFound(f"The database {id_or_name[:80]} could not be found.")
    return found


def page_of_databases(
    session: Session, account_id: str, page: Page, name: str = ""
) -> Listing[D1Database]:
    query = owned_by(account_id).order_by(D1Database.created_at.desc(), D1Database.name)
    return paginate(session, query.where(D1Database.name == name) if name else query, page)


def create(session: Session, account_id: str, name: str, id_: str | None = None) -> D1Database:
    """Raises D1NameInvalid or D1NameTaken."""
    if not _NAME.fullmatch(name):
        raise D1NameInvalid(
            f"A database's name has 1 to {NAME_LENGTH_MAX} letters, digits, dots, hyphens and "
            "underscores, and begins with a letter or digit. Nothing was changed."
        )
    database = D1Database(id=id_ or ids.uuid4(), account_id=account_id, name=name)
    session.add(database)
    try:
        session.flush()
    except IntegrityError as error:
        raise D1NameTaken(
            f"A database with name '{name}' already exists. Nothing was changed."
        ) from error
    return database


def delete(session: Session, database: D1Database) -> None:
    """Forget a database; its tables are destroyed after the commit, whenever their node can be asked."""
    session.delete(database)
    stores.discard(session, database.account_id, KIND, database.id)


def remove(session: Session, account_id: str, database_id: str) -> None:
    """The same, if it is there."""
    found = session.scalar(owned_by(account_id).where(D1Database.id == database_id))
    if found is not None:
        delete(session, found)


def check_binding(session: Session, account_id: str, binding: dict[str, Any]) -> None:
    """Raises D1BindingNotFound; until the end of the transaction the database stays."""
    found = str(binding["id"])
    query = owned_by(account_id).where(D1Database.id == found).with_for_update(read=True)
    if session.scalar(query) is None:
        raise D1BindingNotFound(
            f"D1 binding '{binding['name']}' references database '{found[:80]}' which was not found. "
            "Verify the database exists in your account and that the database_id in your "
            "configuration is correct. Nothing was changed."
        )
