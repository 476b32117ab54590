"""API tokens: made, recognised, listed, revoked."""

from datetime import timedelta

from sqlalchemy import Select, or_, select, update
from sqlalchemy.orm import Session

from api import ids
from api.accounts.models import Account, Token
from api.clock import now
from api.errors import BodyInvalid, TokenNotFound
from api.pagination import Listing, Page, paginate

NAME_LENGTH_MAX = 100
# What `./skerry env`, `status` and `up` use on the machine itself; a start makes it anew when it is gone.
OF_THE_LAUNCHER = "skerry-env"
# Noting every request would write a row for each read; a person asks whether it was today or last year.
USE_NOTED_EVERY = timedelta(minutes=1)
LAST_LETTERS = 4


def issue(session: Session, account: Account, name: str) -> str:
    """A new token; its secret is given once and only its digest kept."""
    return create(session, account, name)[1]


def create(session: Session, account: Account, name: str) -> tuple[Token, str]:
    """A new token and its secret, which is given this once. Raises BodyInvalid for its name."""
    name = name.strip()
    if not name or len(name) > NAME_LENGTH_MAX or not name.isprintable():
        raise BodyInvalid(
            f"A token's name has 1 to {NAME_LENGTH_MAX} printable characters. No token was made."
        )
    secret = ids.secret("skt_")
    token = Token(
        account=account,
        name=name,
        digest=ids.digest(secret.encode()),
        last_four=secret[-LAST_LETTERS:],
    )
    session.add(token)
    session.flush()  # its id is part of the answer
    return token, secret


def recognise(session: Session, secret: str) -> Token | None:
    token = session.scalar(
        select(Token).where(Token.digest == ids.digest(secret.encode()), Token.revoked_at.is_(None))
    )
    if token is not None:
        _note_use(session, token)
    return token


def _note_use(session: Session, token: Token) -> None:
    moment = now()
    long_ago = moment - USE_NOTED_EVERY
    if token.last_used_at is not None and token.last_used_at > long_ago:
        return
    # Requests that come together must not wait for each other's transactions: one of them notes it.
    due = (
        select(Token.id)
        .where(
            Token.id == token.id,
            or_(Token.last_used_at.is_(None), Token.last_used_at <= long_ago),
        )
        .with_for_update(skip_locked=True)
    )
    session.execute(update(Token).where(Token.id.in_(due)).values(last_used_at=moment))


def of_account(account: Account | str) -> Select[Token]:
    """The one door to an account's tokens: those that are not revoked."""
    account_id = account if isinstance(account, str) else account.id
    return select(Token).where(Token.account_id == account_id, Token.revoked_at.is_(None))


def page_of_tokens(session: Session, account: Account, page: Page) -> Listing[Token]:
    return paginate(session, of_account(account).order_by(Token.created_at, Token.id), page)


def get(session: Session, account: Account | str, token_id: str) -> Token:
    token = session.scalar(of_account(account).where(Token.id == token_id))
    if token is None:
        raise TokenNotFound("There is no such token on your account, or it is revoked already.")
    return token


def revoke(session: Session, account: Account | str, token_id: str) -> Token:
    """Refuse a token from now on; raises TokenNotFound for a stranger's or a revoked one."""
    token = get(session, account, token_id)
    token.revoked_at = now()
    return token
