from typing import Any

from fastapi import APIRouter

from api.accounts import service, tokens
from api.accounts.actor import token_email
from api.accounts.models import Account, Token
from api.accounts.schemas import (
    AccountOut,
    CreatedToken,
    MembershipOut,
    SubdomainOut,
    TokenId,
    TokenIn,
    TokenOut,
    TokenRow,
    UserOut,
)
from api.clock import iso
from api.db import DB
from api.envelope import Envelope, PagedEnvelope, answer
from api.pagination import Listing, Page, RequestedPage, page_of_list
from api.security import CurrentAccount, CurrentToken, VerifiedToken

router = APIRouter(tags=["accounts"])


def account_out(account: Account) -> dict[str, Any]:
    return {"id": account.id, "name": account.name, "created_on": iso(account.created_at)}


def paged(listing: Listing[Any], rows: list[Any]) -> dict[str, Any]:
    """The envelope of one page, its rows already shaped."""
    return {**answer(rows), "result_info": listing.info()}


def _one_page(rows: list[Any], page: Page) -> dict[str, Any]:
    listing = page_of_list(rows, page)
    return paged(listing, listing.rows)


@router.get("/user/tokens/verify", response_model=Envelope[TokenOut])
def verify_token(token: VerifiedToken) -> dict[str, Any]:
    """Whether the token is good."""
    return answer({"id": token.id, "status": "active"})


@router.get("/user", response_model=Envelope[UserOut])
def get_user(token: CurrentToken) -> dict[str, Any]:
    """Who the token acts as."""
    return answer({"id": token.id, "email": token_email(token.account, token)})


@router.get("/accounts", response_model=PagedEnvelope[list[AccountOut]])
def list_accounts(token: CurrentToken, page: RequestedPage) -> dict[str, Any]:
    """The accounts that the token may use."""
    return _one_page([account_out(token.account)], page)


@router.get("/accounts/{account_id}", response_model=Envelope[AccountOut])
def get_account(account: CurrentAccount) -> dict[str, Any]:
    return answer(account_out(account))


@router.get("/memberships", response_model=PagedEnvelope[list[MembershipOut]])
def list_memberships(token: CurrentToken, page: RequestedPage) -> dict[str, Any]:
    """The same accounts, as memberships: wrangler shows those that are in both lists."""
    membership = {
        "id": token.id,
        "account": account_out(token.account),
        "roles": ["Administrator"],
    }
    return _one_page([membership], page)


def token_out(token: Token) -> dict[str, Any]:
    return {
        "id": token.id,
        "name": token.name,
        "status": "active",
        "issued_on": iso(token.created_at),
        "last_used_on": iso(token.last_used_at) if token.last_used_at else None,
        "last_four": token.last_four,
    }


@router.get("/accounts/{account_id}/tokens", response_model=PagedEnvelope[list[TokenRow]])
def list_tokens(session: DB, account: CurrentAccount, page: RequestedPage) -> dict[str, Any]:
    """The account's tokens that are not revoked, without their secrets."""
    listing = tokens.page_of_tokens(session, account, page)
    return paged(listing, [token_out(token) for token in listing.rows])


@router.post("/accounts/{account_id}/tokens", response_model=Envelope[CreatedToken])
def create_token(session: DB, account: CurrentAccount, body: TokenIn) -> dict[str, Any]:
    """Make a token; `value` is its secret, given this once."""
    token, secret = tokens.create(session, account, body.name)
    return answer({**token_out(token), "value": secret})


@router.delete("/accounts/{account_id}/tokens/{token_id}", response_model=Envelope[TokenId])
def revoke_token(session: DB, account: CurrentAccount, token_id: str) -> dict[str, Any]:
    """Refuse a token from now on, the calling one included."""
    return answer({"id": tokens.revoke(session, account, token_id).id})


@router.get("/accounts/{account_id}/workers/subdomain", response_model=Envelope[SubdomainOut])
def get_subdomain(account: CurrentAccount) -> dict[str, Any]:
    """The label between a script's name and the apps domain."""
    return answer({"subdomain": account.subdomain})


@router.get(
    "/accounts/{account_id}/workers/subdomains/{subdomain}", response_model=Envelope[SubdomainOut]
)
def check_subdomain(session: DB, account: CurrentAccount, subdomain: str) -> dict[str, Any]:
    """Always an error: 10032 means free, 10031 taken. The account's own answers itself."""
    if subdomain == account.subdomain:
        return answer({"subdomain": subdomain})
    return service.refuse_availability(session, subdomain)
