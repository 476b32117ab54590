"""What: scripts, the names that hold versions."""

import json
import re
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from api import ids
from api.accounts.models import Account
from api.clock import now
from api.errors import BodyInvalid, ScriptNameInvalid, ScriptNotFound
from api.pagination import Listing, Page, paginate
from api.scripts import observability, scaling
from api.scripts.models import Script

# Cloudflare's rule; 63 is the length of a DNS label, since the name begins the live URL.
_NAME = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
SETTINGS_SIZE_MAX = 64 * 1024


def owned_by(account_id: str) -> Select[Script]:
    """The one door to scripts: those of an account that are not deleted."""
    return select(Script).where(Script.account_id == account_id, Script.deleted_at.is_(None))


def check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ScriptNameInvalid(
            f'"{name[:80]}" cannot name a Worker: use 1 to 63 lower-case letters, digits, hyphens '
            "and underscores, with no hyphen at either end."
        )


def find(session: Session, account_id: str, name: str) -> Script | None:
    return session.scalar(owned_by(account_id).where(Script.name == name))


def get(session: Session, account: Account | str, name: str) -> Script:
    """The script of that name; raises ScriptNotFound, for a stranger's too."""
    account_id = account if isinstance(account, str) else account.id
    script = find(session, account_id, name)
    if script is None:
        raise ScriptNotFound(name)
    return script


def take_turn(session: Session, account_id: str) -> None:
    """Wait for whoever changes scripts of the account, until the end of the transaction. What is deployed of
    one may change where another runs, so two at once would wait for each other's rows, and neither would
    see what the other one has decided. Before anything else is locked."""
    key = func.hashtextextended(account_id, 0)
    session.execute(select(func.pg_advisory_xact_lock(key)))


def lock(session: Session, account_id: str, name: str) -> Script:
    """The script with its row locked: numbers are given and deployments decided one at a time."""
    take_turn(session, account_id)
    script = session.scalar(
        owned_by(account_id)
        .where(Script.name == name)
        .with_for_update(of=Script, key_share=True)  # does not hold up rows that refer to it
        .execution_options(populate_existing=True)
    )
    if script is None:
        raise ScriptNotFound(name)
    return script


def lock_all(session: Session, account_id: str) -> list[Script]:
    """Every script of an account, locked in the order of their ids."""
    take_turn(session, account_id)
    query = owned_by(account_id).order_by(Script.id).with_for_update(of=Script, key_share=True)
    return list(session.scalars(query.execution_options(populate_existing=True)))


def lock_or_create(session: Session, account_id: str, name: str) -> Script:
    """The locked script, made if the account has none of that name."""
    check_name(name)
    take_turn(session, account_id)
    session.execute(
        insert(Script)
        .values(id=ids.hex32(), account_id=account_id, name=name, settings={})
        .on_conflict_do_nothing()
    )
    return lock(session, account_id, name)


def page_of_scripts(
    session: Session, account: Account, page: Page, search: str = ""
) -> Listing[Script]:
    query = owned_by(account.id).order_by(Script.modified_at.desc(), Script.name)
    if search:
        query = query.where(Script.name.contains(search.lower(), autoescape=True))
    return paginate(session, query, page)


def change_settings(script: Script, changes: dict[str, Any]) -> bool:
    """Change the settings that are named; whether its nodes have to hear of it.

    Raises BodyInvalid for more than a row should hold.
    """
    # Encoding refuses half a surrogate pair, which JSON can hold and nothing could ever show again.
    if len(json.dumps(changes, ensure_ascii=False).encode()) > SETTINGS_SIZE_MAX:
        raise BodyInvalid(f"Settings have at most {SETTINGS_SIZE_MAX:,} bytes.")
    if complaint := observability.complaint(changes.get("observability")):
        raise BodyInvalid(complaint)
    before = script.scaling, script.settings.get("observability")
    script.settings = scaling.merged(script.settings, changes)
    script.modified_at = now()
    return (script.scaling, script.settings.get("observability")) != before


def observe(script: Script, asked: Any) -> None:
    """A deploy with `observability` in its configuration decides for the script, one without it
    takes back what was decided before."""
    kept = {key: value for key, value in script.settings.items() if key != "observability"}
    script.settings = kept if asked is None else {**kept, "observability": asked}
