"""Where a Worker answers besides its live URL, and the addresses that open that."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from api.scripts import service as scripts
from api.scripts.models import Script
from api.scripts.urls import origin
from api.settings import settings
from api.zones import leading, patterns
from api.zones.models import CustomDomain, Route


@dataclass(frozen=True)
class Addresses:
    """Routes and custom domains, each with the address that opens it."""

    domains: list[tuple[CustomDomain, str]]
    routes: list[tuple[Route, str | None]]

    def __bool__(self) -> bool:
        return bool(self.domains or self.routes)


def addresses_of(session: Session, script: Script) -> Addresses:
    found = leading.routes_of_script(session, script)
    return Addresses(opened(leading.domains_of_script(session, script)), opened_routes(found))


def opened(domains: Sequence[CustomDomain]) -> list[tuple[CustomDomain, str]]:
    return [(domain, origin(domain.hostname)) for domain in domains]


def opened_routes(routes: Sequence[Route]) -> list[tuple[Route, str | None]]:
    return [(route, _start(route.pattern)) for route in routes]


def _start(pattern: str) -> str | None:
    """The first address that fits a pattern; None when that is anybody's guess: below a wildcard, or
    where another scheme is asked for than that of live URLs, whose port is known."""
    read = patterns.read(pattern)
    if read.host != read.base or read.scheme not in ("", settings().apps_scheme):
        return None
    return origin(read.host) + read.path.removesuffix("*")


def choices(session: Session, account_id: str) -> dict[str, str]:
    """The account's Workers, for a list to choose from."""
    names = session.scalars(scripts.owned_by(account_id).order_by(Script.name))
    listed = {one.name: one.name for one in names}
    return {"": "Choose a Worker" if listed else "There is no Worker yet"} | listed
