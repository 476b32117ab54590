from typing import Any

from pydantic import BaseModel, Field


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


class MembershipOut(BaseModel):
    id: str
    status: str = "accepted"
    account: AccountOut
    roles: list[str]


class SubdomainOut(BaseModel):
    subdomain: str


class SubdomainIn(BaseModel):
    subdomain: str = Field(examples=["dev"], max_length=63)
