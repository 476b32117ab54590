"""Who is asking: a bearer token, and the account whose path it may use."""

from typing import Annotated

from fastapi import Depends, Path, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.orm import Session

from api.accounts import tokens
from api.accounts.actor import Actor
from api.accounts.models import Account, Token
from api.db import DB, transaction
from api.errors import NotAllowed, NotAuthenticated, TokenInvalid

_bearer = HTTPBearer(
    auto_error=False, description="A Skerry API token (`./skerry env` prints one)."
)
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
AccountId = Annotated[str, Path(description="32 hex digits.", examples=["0" * 32])]


def _recognise(session: Session, credentials: HTTPAuthorizationCredentials | None) -> Token:
    if credentials is None:
        raise NotAuthenticated(
            "Authentication error: send an API token as `Authorization: Bearer …`. "
            '`eval "$(./skerry env)"` sets one for wrangler.'
        )
    token = tokens.recognise(session, credentials.credentials)
    if token is None:
        raise NotAuthenticated(
            "Authentication error: this API token is unknown or revoked. Nothing was changed."
        )
    return token


def calling_token(session: DB, credentials: Credentials) -> Token:
    return _recognise(session, credentials)


def verified_token(session: DB, credentials: Credentials) -> Token:
    """The calling token; for an unknown one the code that wrangler takes for an account's token."""
    try:
        return _recognise(session, credentials)
    except NotAuthenticated as problem:
        raise TokenInvalid("Invalid API Token: it is unknown or revoked.") from problem


def source_of(request: Request) -> str:
    """What asks: `wrangler`, or `api` for everything else."""
    agent = request.headers.get("user-agent", "")
    return "wrangler" if agent.startswith("wrangler/") else "api"


def calling_account(session: DB, credentials: Credentials, account_id: AccountId) -> Account:
    """The account of the path, if the token is one of its own.

    A stranger's account and one that does not exist get the same answer.
    """
    token = _recognise(session, credentials)
    if token.account_id != account_id:
        raise NotAllowed("Authentication error: this token has no access to that account.")
    return token.account


def calling_actor(request: Request, credentials: Credentials, account_id: AccountId) -> Actor:
    """The same check in a transaction of its own, for endpoints that wait after committing."""
    with transaction() as session:
        token = _recognise(session, credentials)
        if token.account_id != account_id:
            raise NotAllowed("Authentication error: this token has no access to that account.")
        return Actor.token(token, source_of(request))


def calling_account_id(credentials: Credentials) -> str:
    """The token's own account, for paths that name none; in a transaction of its own, for endpoints
    that wait after committing."""
    with transaction() as session:
        return _recognise(session, credentials).account_id


CurrentToken = Annotated[Token, Depends(calling_token)]
VerifiedToken = Annotated[Token, Depends(verified_token)]
CurrentAccount = Annotated[Account, Depends(calling_account)]
CurrentActor = Annotated[Actor, Depends(calling_actor)]
OwnAccountId = Annotated[str, Depends(calling_account_id)]
