"""Who: accounts, members, their passwords and sessions."""

import re
from datetime import timedelta
from typing import NoReturn

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError
from sqlalchemy import delete, exists, func, select
from sqlalchemy.orm import Session

from api import ids
from api.accounts.models import Account, LogInFailure, LogInSession, Member, SetupToken
from api.clock import now
from api.errors import (
    AlreadyExists,
    BodyInvalid,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    SubdomainFree,
    SubdomainInvalid,
    SubdomainTaken,
    TooManyAttempts,
)
from api.settings import settings

PASSWORD_LENGTH_MIN = 12
# Ten guesses in a quarter of an hour leave a person room for typing errors and a machine none.
FAILURES_ALLOWED = 10
FAILURE_WINDOW = timedelta(minutes=15)

_passwords = PasswordHasher()
# Checked against when the address is unknown, so that the answer takes as long as for a known one. Written down,
# because to make it takes as long as to check it, in every process that starts.
_NOBODY = (
    "$argon2id$v=19$m=65536,t=3,p=4$"
    "MtyQ2q5hEU1BwZQp/QrKzA$FUd40nl7tvB4Q90pzD/6yND/n0S7hA2yyKSUl/D9H/Q"
)
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.?[^@\s]*")
# One DNS label: it becomes part of host names.
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


def bootstrap(session: Session) -> Account:
    """The installation's first account, made when there is none."""
    account = session.scalar(select(Account).order_by(Account.created_at).limit(1))
    if account is None:
        name = settings().account_name
        account = Account(name=name, subdomain=checked_subdomain(name))
        session.add(account)
        session.flush()  # tokens refer to its id
    return account


# --- set-up -----------------------------------------------------------------------------------


def setup_pending(session: Session) -> bool:
    """True until somebody has used the set-up token."""
    return not session.scalar(select(exists().where(Member.id.is_not(None))))


def issue_setup_token(session: Session, account: Account) -> str:
    """A fresh set-up token; the one issued before is void."""
    secret = ids.secret("sks_")
    session.merge(
        SetupToken(account_id=account.id, digest=ids.digest(secret.encode()), created_at=now())
    )
    return secret


def check_setup_token(session: Session, token: str) -> bool:
    return setup_pending(session) and _setup_token(session, token) is not None


def create_administrator(session: Session, token: str, email: str, password: str) -> Member:
    """Make the first member; the token is used up.

    Raises NotAllowed for a wrong or used token, BodyInvalid for an address or password that
    will not do.
    """
    setup = _setup_token(session, token)
    if setup is None or not setup_pending(session):
        raise NotAllowed(
            "This set-up link has been used or replaced. Log in, or start Skerry again for a new one."
        )
    member = _new_member(session, setup.account, email, password)
    session.delete(setup)
    return member


def _setup_token(session: Session, token: str) -> SetupToken | None:
    digest = ids.digest(token.encode())
    # Locked: of two browsers with the same link only one makes the administrator.
    return session.scalar(select(SetupToken).where(SetupToken.digest == digest).with_for_update())


def _new_member(session: Session, account: Account, email: str, password: str) -> Member:
    email = email.strip()
    if not _EMAIL.fullmatch(email) or len(email) > 254:
        raise BodyInvalid("Enter an e-mail address such as you@example.org.")
    _check_length(password)
    if _member(session, email) is not None:
        raise AlreadyExists(f"{email} is a member already.")
    member = Member(account=account, email=email, password_hash=_passwords.hash(password))
    session.add(member)
    session.flush()  # its id goes into the session that the caller opens next
    return member


def _check_length(password: str) -> None:
    if len(password) < PASSWORD_LENGTH_MIN:
        raise BodyInvalid(f"Use at least {PASSWORD_LENGTH_MIN} characters for the password.")


def _member(session: Session, email: str) -> Member | None:
    return session.scalar(select(Member).where(func.lower(Member.email) == email.strip().lower()))


def reset_password(session: Session, email: str, password: str) -> Member:
    """Give a member another password; every browser that is logged in as them is logged out.

    Raises NotFound for an address that nobody has, BodyInvalid for a password that will not do.
    """
    _check_length(password)
    member = _member(session, email)
    if member is None:
        raise NotFound(f"Nobody here has the address {email}.")
    member.password_hash = _passwords.hash(password)
    session.execute(delete(LogInSession).where(LogInSession.member_id == member.id))
    # Whoever forgot a password has often guessed at it before: the new one works at once.
    session.execute(delete(LogInFailure).where(LogInFailure.email == member.email.lower()))
    return member


# --- sessions ---------------------------------------------------------------------------------


def log_in(session: Session, email: str, password: str) -> tuple[Member, str]:
    """Check a password and open a session; gives the member and the cookie's secret.

    Raises NotAuthenticated, or TooManyAttempts after ten failures in fifteen minutes. The caller
    records a failure with `record_failure` in a transaction of its own: this one is rolled back.
    """
    _refuse_guessing(session, email)
    member = _member(session, email)
    try:
        _passwords.verify(member.password_hash if member else _NOBODY, password)
    except VerificationError as error:
        raise NotAuthenticated("E-mail or password is not right.") from error
    if member is None:
        raise NotAuthenticated("E-mail or password is not right.")
    return member, open_session(session, member)


def open_session(session: Session, member: Member) -> str:
    """The secret for the cookie of a browser that has just proven who it is."""
    secret = ids.secret("")
    lifetime = timedelta(days=settings().session_lifetime_days)
    session.add(
        LogInSession(member=member, digest=ids.digest(secret.encode()), expires_at=now() + lifetime)
    )
    return secret


def record_failure(session: Session, email: str) -> None:
    session.execute(delete(LogInFailure).where(LogInFailure.failed_at < now() - FAILURE_WINDOW))
    session.add(LogInFailure(email=email.strip().lower()))


def member_of_session(session: Session, secret: str) -> Member | None:
    """Whose cookie this is, while it is valid."""
    return session.scalar(
        select(Member)
        .join(LogInSession)
        .where(LogInSession.digest == ids.digest(secret.encode()), LogInSession.expires_at > now())
    )


def log_out(session: Session, secret: str) -> None:
    session.execute(delete(LogInSession).where(LogInSession.digest == ids.digest(secret.encode())))


def _refuse_guessing(session: Session, email: str) -> None:
    failures = session.scalar(
        select(func.count())
        .select_from(LogInFailure)
        .where(
            LogInFailure.email == email.strip().lower(),
            LogInFailure.failed_at > now() - FAILURE_WINDOW,
        )
    )
    if (failures or 0) >= FAILURES_ALLOWED:
        raise TooManyAttempts("Too many attempts. Wait fifteen minutes, then try again.")


# --- subdomain --------------------------------------------------------------------------------


def checked_subdomain(text: str) -> str:
    """The text, if it can be one label of a host name; else SubdomainInvalid."""
    if not _LABEL.fullmatch(text):
        raise SubdomainInvalid(
            "A subdomain has 1 to 63 lower-case letters, digits and hyphens, "
            "and neither begins nor ends with a hyphen."
        )
    return text


def refuse_availability(session: Session, subdomain: str) -> NoReturn:
    """Raises SubdomainTaken or SubdomainFree: wrangler reads "free" from an error."""
    checked_subdomain(subdomain)
    if session.scalar(select(Account).where(Account.subdomain == subdomain)):
        raise SubdomainTaken(f"The subdomain {subdomain} is taken.")
    raise SubdomainFree(f"The subdomain {subdomain} is free.")


def rename_subdomain(session: Session, account: Account, subdomain: str) -> bool:
    """Give the account another subdomain; False when it has that one already."""
    checked_subdomain(subdomain)
    if account.subdomain == subdomain:
        return False
    if session.scalar(select(Account).where(Account.subdomain == subdomain)):
        raise SubdomainTaken(f"The subdomain {subdomain} is taken.")
    account.subdomain = subdomain
    return True
