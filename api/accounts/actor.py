from dataclasses import dataclass

from api.accounts.models import Account, Member, Token


@dataclass(frozen=True)
class Actor:
    """Who does something, and from where: what versions and deployments record.

    `source` is Cloudflare's word for the way in: `wrangler`, `dash` or `api`.
    """

    account_id: str
    email: str
    id: str
    source: str

    @classmethod
    def member(cls, member: Member, source: str = "dash") -> "Actor":
        return cls(member.account_id, member.email, member.id, source)

    @classmethod
    def token(cls, token: Token, source: str) -> "Actor":
        return cls(token.account_id, token_email(token.account, token), token.id, source)


def token_email(account: Account, token: Token) -> str:
    """What stands where wrangler prints an author: a token is no person and has no address."""
    return f"{token.name}@{account.subdomain}.token"
