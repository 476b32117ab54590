from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class AccountOut(BaseModel):
    id: str
    name: str
    type: str = "standard"
    settings: dict[str, Any] = {}
    created_on: str


class UserOut(BaseModel):
    id: str
    email: str


class TokenOut(BaseModel):
    id: str
    status: str


class TokenIn(BaseModel):
    """A token has all rights on its account: policies, conditions and an end are refused, not ignored."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(examples=["ci"])


class TokenRow(BaseModel):
    """A token without its secret; `last_four` is ours."""

    id: str
    name: str
    status: str
    issued_on: str
    last_used_on: str | None
    last_four: str | None


class CreatedToken(TokenRow):
    """A token with its secret, which is never shown again."""

    value: str


class TokenId(BaseModel):
    id: str


class MembershipOut(BaseModel):
    id: str
    status: str = "accepted"
    account: AccountOut
    roles: list[str]


class SubdomainOut(BaseModel):
    subdomain: str


class SubdomainIn(BaseModel):
    subdomain: str = Field(examples=["dev"], max_length=63)
