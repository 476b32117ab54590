"""Zones, routes, custom domains and certificates as Cloudflare's API has them."""

from typing import Any, Literal

from pydantic import BaseModel, Field, RootModel, SecretStr

from api.accounts.schemas import AccountOut
from api.clock import iso
from api.scripts.schemas import ENVIRONMENT
from api.zones import certificates
from api.zones.models import Certificate, CustomDomain, Route, Zone
from api.zones.service import Place


class AccountIdIn(BaseModel):
    id: str


class ZoneIn(BaseModel):
    name: str = Field(examples=["example.com"], description="The domain, without a subdomain.")
    account: AccountIdIn | None = None


class ProofOut(BaseModel):
    """The TXT record that proves a zone, and what was found of it; ours, not Cloudflare's."""

    type: str = "TXT"
    name: str
    content: str
    checked_on: str | None
    next_check_on: str | None
    problem: str


class ZoneOut(BaseModel):
    id: str
    name: str
    status: str
    paused: bool = False
    # Cloudflare's word for a zone whose DNS is elsewhere, and whose proof is a TXT record.
    type: str = "partial"
    development_mode: int = 0
    name_servers: list[str] = []
    original_name_servers: list[str] = []
    verification_key: str
    account: AccountOut
    created_on: str
    modified_on: str
    activated_on: str | None
    proof: ProofOut


class ZoneId(BaseModel):
    id: str


class RouteIn(BaseModel):
    pattern: str = Field(examples=["example.com/api/*"])
    script: str | None = Field(None, examples=["my-app"])


class RouteOut(BaseModel):
    id: str
    pattern: str
    script: str


class RouteOfScript(RouteOut):
    zone_id: str
    zone_name: str


class RouteId(BaseModel):
    id: str


class WantedRoute(BaseModel):
    """A route of wrangler's configuration; without a zone it is the one that the host is in."""

    pattern: str = Field(examples=["example.com/api/*"])
    zone_id: str | None = None
    zone_name: str | None = None

    def place(self) -> Place:
        return Place(self.pattern, self.zone_id, self.zone_name)


class WantedRoutes(RootModel[list[WantedRoute]]):
    """All routes of a script."""


class WantedDomain(BaseModel):
    hostname: str = Field(examples=["app.example.com"])
    zone_id: str | None = None
    zone_name: str | None = None
    enabled: bool | None = None
    previews_enabled: bool | None = None

    def place(self) -> Place:
        return Place(self.hostname, self.zone_id, self.zone_name)


class WantedDomains(RootModel[list[WantedDomain]]):
    """Host names that are to be a script's own."""


class DomainRecordsIn(BaseModel):
    """With `override_scope` the script keeps no other host name; with `override_existing_origin` it
    takes names of other scripts of the account. There are no DNS records to override."""

    override_scope: bool = False
    override_existing_origin: bool = False
    override_existing_dns_record: bool = False
    origins: list[WantedDomain]


class DomainIn(WantedDomain):
    """A host name and the script that answers it from now on."""

    service: str = Field(examples=["my-app"])
    environment: str = ENVIRONMENT


class AddedDomain(BaseModel):
    """One that would be made."""

    hostname: str
    service: str
    environment: str = ENVIRONMENT
    zone_id: str
    zone_name: str
    enabled: bool = True
    previews_enabled: bool = False


class DomainOut(AddedDomain):
    id: str


class DomainId(BaseModel):
    id: str


class UpdatedDomain(DomainOut):
    modified: bool
    """Whether it would be taken from another script."""


class ChangesetOut(BaseModel):
    added: list[AddedDomain]
    removed: list[DomainOut]
    updated: list[UpdatedDomain]
    conflicting: list[DomainOut]
    """Empty: those would be DNS records, which Skerry has none of."""


class CertificateChangeIn(BaseModel):
    """What stays out stays as it is. A chain is shown as it comes, whatever `bundle_method` says."""

    certificate: str | None = Field(
        None,
        description="PEM, the leaf first, behind it what signed it.",
        examples=["-----BEGIN …"],
    )
    private_key: SecretStr | None = Field(None, description="PEM, not encrypted.")
    bundle_method: Literal["ubiquitous", "optimal", "force"] | None = None
    type: Literal["sni_custom", "legacy_custom"] | None = None
    geo_restrictions: Any = None
    policy: str | None = None
    custom_csr_id: str | None = None
    deploy: Literal["production", "staging"] | None = None


class CertificateIn(CertificateChangeIn):
    """A certificate and its key."""

    certificate: str = Field(description="PEM, the leaf first, behind it what signed it.")
    private_key: SecretStr = Field(description="PEM, not encrypted.")


class CertificateOut(BaseModel):
    """The key is answered to nobody."""

    id: str
    type: str = "sni_custom"
    hosts: list[str]
    shown_hosts: list[str]
    """Ours: those of them that no newer certificate of the zone has."""
    issuer: str
    signature: str
    status: str
    bundle_method: str
    zone_id: str
    uploaded_on: str
    modified_on: str
    expires_on: str
    priority: int = 0
    fingerprint_sha256: str


class CertificateId(BaseModel):
    id: str


def zone_out(zone: Zone) -> dict[str, Any]:
    account = zone.account
    changed = zone.verified_at or zone.checked_at or zone.created_at
    return {
        "id": zone.id,
        "name": zone.name,
        "status": zone.status,
        "verification_key": zone.token,
        "account": {
            "id": account.id,
            "name": account.name,
            "created_on": iso(account.created_at),
        },
        "created_on": iso(zone.created_at),
        "modified_on": iso(changed),
        "activated_on": iso(zone.verified_at) if zone.verified_at else None,
        "proof": {
            "name": zone.challenge,
            "content": zone.token,
            "checked_on": iso(zone.checked_at) if zone.checked_at else None,
            "next_check_on": iso(zone.next_check_at) if zone.next_check_at else None,
            "problem": zone.problem,
        },
    }


def route_out(route: Route) -> dict[str, Any]:
    return {"id": route.id, "pattern": route.pattern, "script": route.script.name}


def route_of_script(route: Route) -> dict[str, Any]:
    return {**route_out(route), "zone_id": route.zone_id, "zone_name": route.zone.name}


def domain_out(domain: CustomDomain) -> dict[str, Any]:
    return {
        "id": domain.id,
        "hostname": domain.hostname,
        "service": domain.script.name,
        "zone_id": domain.zone_id,
        "zone_name": domain.zone.name,
    }


def certificate_out(found: Certificate, zone: Zone, shown: list[str]) -> dict[str, Any]:
    return {
        "id": found.id,
        "hosts": found.names,
        "shown_hosts": shown,
        "issuer": found.issuer,
        "signature": found.signature,
        "status": certificates.status(found, zone),
        "bundle_method": found.bundle_method,
        "zone_id": found.zone_id,
        "uploaded_on": iso(found.uploaded_at),
        "modified_on": iso(found.changed_at),
        "expires_on": iso(found.not_after),
        "fingerprint_sha256": found.fingerprint,
    }
