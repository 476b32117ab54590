"""Names to begin with, so that a first Worker needs no thought."""

import secrets

from sqlalchemy.orm import Session

from api.accounts.models import Account
from api.scripts import service as scripts

_MOODS = ("brisk", "calm", "clear", "early", "gentle", "grey", "high", "keen", "quiet", "salty")
_BIRDS = ("auk", "eider", "fulmar", "gannet", "guillemot", "gull", "kittiwake", "petrel", "tern")


def suggest_name(session: Session, account: Account, template: str) -> str:
    """The template's name while it is free, then with two words after it."""
    if scripts.find(session, account.id, template) is None:
        return template
    return f"{template}-{secrets.choice(_MOODS)}-{secrets.choice(_BIRDS)}"
