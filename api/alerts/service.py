"""Who is told of what: rules and destinations of an account."""

from datetime import UTC, datetime, timedelta
from email.utils import parseaddr
from urllib.parse import urlsplit

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from api import ids, sealing
from api.accounts.models import Account
from api.alerts.kinds import KINDS
from api.alerts.models import Alert, Delivery, Destination, Rule
from api.clock import now
from api.errors import BodyInvalid, NotFound, QueueNotFound
from api.pagination import Listing, Page, paginate
from api.queues import service as queues
from api.queues.models import Queue
from api.scripts import service as scripts

NAME_LENGTH_MAX = 100
ADDRESS_LENGTH_MAX = 1000
WINDOW_MINUTES_MAX = 24 * 60
MUTE_MAX = timedelta(days=366)
WEBHOOK, MAIL = "webhook", "mail"


# --- destinations -----------------------------------------------------------------------------


def destinations_of(account: Account | str) -> Select[Destination]:
    account_id = account if isinstance(account, str) else account.id
    return select(Destination).where(Destination.account_id == account_id)


def destinations(session: Session, account: Account | str) -> list[Destination]:
    return list(session.scalars(destinations_of(account).order_by(Destination.name)))


def destination(session: Session, account: Account | str, destination_id: str) -> Destination:
    found = session.scalar(destinations_of(account).where(Destination.id == destination_id))
    if found is None:
        raise NotFound("There is no such destination on your account.")
    return found


def add_destination(
    session: Session, account: Account | str, *, name: str, kind: str, address: str
) -> tuple[Destination, str]:
    """A destination, and the secret that signs what is sent to a webhook, given this once."""
    check_name(name)
    check_address(kind, address)
    secret = ids.secret("skw_") if kind == WEBHOOK else ""
    made = Destination(
        account_id=account if isinstance(account, str) else account.id,
        name=name.strip(),
        kind=kind,
        address=address.strip(),
        sealed_secret=sealing.seal(secret) if secret else None,
    )
    session.add(made)
    session.flush()
    return made, secret


def remove_destination(session: Session, account: Account | str, destination_id: str) -> None:
    session.delete(destination(session, account, destination_id))


def check_name(name: str) -> None:
    """Raises BodyInvalid."""
    if not name.strip() or len(name) > NAME_LENGTH_MAX or not name.isprintable():
        raise BodyInvalid(f"A name has 1 to {NAME_LENGTH_MAX} printable characters.")


def check_address(kind: str, address: str) -> None:
    """A network of the operator's own is a fine place for a webhook. Raises BodyInvalid."""
    address = address.strip()
    if len(address) > ADDRESS_LENGTH_MAX or not address.isprintable():
        raise BodyInvalid(f"An address has at most {ADDRESS_LENGTH_MAX:,} printable characters.")
    if kind == WEBHOOK:
        _check_url(address)
    elif kind != MAIL:
        raise BodyInvalid(f"`kind` is {WEBHOOK} or {MAIL}.")
    elif parseaddr(address)[1] != address or "@" not in address[1:-1] or " " in address:
        raise BodyInvalid("A mail address looks like ops@example.org.")


def _check_url(address: str) -> None:
    try:
        url = urlsplit(address)
        good = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        good = False
    if not good:
        raise BodyInvalid("A webhook's address looks like https://example.org/hook.")


# --- rules ------------------------------------------------------------------------------------


def rules_of(account: Account | str) -> Select[Rule]:
    account_id = account if isinstance(account, str) else account.id
    return select(Rule).where(Rule.account_id == account_id)


def rules(session: Session, account: Account | str) -> list[Rule]:
    return list(session.scalars(rules_of(account).order_by(Rule.name, Rule.id)))


def rule(session: Session, account: Account | str, rule_id: str) -> Rule:
    found = session.scalar(rules_of(account).where(Rule.id == rule_id))
    if found is None:
        raise NotFound("There is no such rule on your account.")
    return found


def add_rule(
    session: Session,
    account: Account | str,
    *,
    name: str,
    kind: str,
    threshold: float,
    window_minutes: int = 5,
    script: str | None = None,
    queue: str | None = None,
    destination_id: str | None = None,
) -> Rule:
    """Watch something from now on; `script` and `queue` are names. Raises BodyInvalid, ScriptNotFound,
    QueueNotFound, NotFound."""
    account_id = account if isinstance(account, str) else account.id
    check_name(name)
    _check_figures(kind, threshold, window_minutes)
    if script and not KINDS[kind].of_scripts:
        raise BodyInvalid(f"A rule of the kind {kind} is not about a script.")
    if queue and not KINDS[kind].of_queues:
        raise BodyInvalid(f"A rule of the kind {kind} is not about a queue.")
    if destination_id:
        destination(session, account, destination_id)
    made = Rule(
        account_id=account_id,
        name=name.strip(),
        kind=kind,
        threshold=threshold,
        window_minutes=window_minutes,
        script_id=scripts.get(session, account, script).id if script else None,
        queue_id=_queue(session, account_id, queue).id if queue else None,
        destination_id=destination_id or None,
    )
    session.add(made)
    session.flush()
    return made


def _queue(session: Session, account_id: str, name: str) -> Queue:
    found = queues.find(session, account_id, name)
    if found is None:
        raise QueueNotFound(f"The queue {name} does not exist on your account.")
    return found


def _check_figures(kind: str, threshold: float, window_minutes: int) -> None:
    if kind not in KINDS:
        raise BodyInvalid(f"`kind` is one of {', '.join(KINDS)}.")
    if not 0 < threshold <= KINDS[kind].most:
        raise BodyInvalid(f"`threshold` is more than 0 and at most {KINDS[kind].most:,.0f}.")
    if not 1 <= window_minutes <= WINDOW_MINUTES_MAX:
        raise BodyInvalid(f"`window_minutes` is 1 to {WINDOW_MINUTES_MAX:,}.")


def remove_rule(session: Session, account: Account | str, rule_id: str) -> None:
    """With its history."""
    session.delete(rule(session, account, rule_id))


def mute(session: Session, account: Account | str, rule_id: str, until: datetime | None) -> Rule:
    """Tell nobody until then; None: tell again from now on. What happens meanwhile is in the history."""
    found = rule(session, account, rule_id)
    if until and not _thinkable(until):
        raise BodyInvalid("A rule is muted for a year at most.")
    found.muted_until = until
    return found


def _thinkable(until: datetime) -> bool:
    """Whether it is a time that a person may mean; the last days of the calendar are in no UTC."""
    try:
        return now() - MUTE_MAX < until.astimezone(UTC) < now() + MUTE_MAX
    except OverflowError:
        return False


# --- history ----------------------------------------------------------------------------------


def page_of_alerts(session: Session, account: Account | str, page: Page) -> Listing[Alert]:
    """What fired, newest first."""
    account_id = account if isinstance(account, str) else account.id
    query = select(Alert).where(Alert.account_id == account_id)
    return paginate(session, query.order_by(Alert.fired_at.desc(), Alert.id), page)


def firing(session: Session, account: Account | str) -> list[Alert]:
    account_id = account if isinstance(account, str) else account.id
    query = select(Alert).where(Alert.account_id == account_id, Alert.resolved_at.is_(None))
    return list(session.scalars(query.order_by(Alert.fired_at.desc())))


def page_of_deliveries(session: Session, account: Account | str, page: Page) -> Listing[Delivery]:
    """Who was told, newest first."""
    account_id = account if isinstance(account, str) else account.id
    query = select(Delivery).where(Delivery.account_id == account_id)
    return paginate(session, query.order_by(Delivery.created_at.desc(), Delivery.id), page)
