"""API tokens: made, recognised, revoked."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from api import ids
from api.accounts.models import Account, Token


def issue(session: Session, account: Account, name: str) -> str:
    """A new token; its secret is given once and only its digest kept."""
    secret = ids.secret("skt_")
    session.add(Token(account=account, name=name, digest=ids.digest(secret.encode())))
    return secret


def recognise(session: Session, secret: str) -> Token | None:
    return session.scalar(
        select(Token).where(Token.digest == ids.digest(secret.encode()), Token.revoked_at.is_(None))
    )
