from typing import Annotated, Any

from fastapi import APIRouter, Path
from sqlalchemy.orm import Session

from api.accounts.endpoints import paged
from api.db import DB
from api.envelope import Envelope, PagedEnvelope, answer
from api.errors import NotSupported
from api.pagination import RequestedPage
from api.security import CurrentToken, OwnAccountId
from api.zones import certificates, flows, service
from api.zones.endpoints.zones import ZoneIdPath
from api.zones.flows import Kept
from api.zones.models import Certificate, Zone
from api.zones.schemas import (
    CertificateChangeIn,
    CertificateId,
    CertificateIn,
    CertificateOut,
    certificate_out,
)

router = APIRouter(prefix="/zones/{zone_id}/custom_certificates", tags=["certificates"])
CertificateIdPath = Annotated[str, Path(description="A certificate's id: 32 hex digits.")]


@router.get("", response_model=PagedEnvelope[list[CertificateOut]])
def list_certificates(
    session: DB, token: CurrentToken, zone_id: ZoneIdPath, page: RequestedPage
) -> dict[str, Any]:
    """The certificates of a zone, the newest upload first."""
    zone = service.get(session, token.account_id, zone_id)
    listing = certificates.page_of_certificates(session, zone, page)
    return paged(listing, _out(session, zone, listing.rows))


@router.post("", response_model=Envelope[CertificateOut])
def create_certificate(
    account_id: OwnAccountId, zone_id: ZoneIdPath, body: CertificateIn
) -> dict[str, Any]:
    """Upload a certificate with its key: every node shows it for the names in it."""
    _refuse_unsupported(body)
    key = body.private_key.get_secret_value()
    method = body.bundle_method or "ubiquitous"
    kept = flows.upload_certificate(
        account_id, zone_id, body.certificate, key, bundle_method=method
    )
    return _answer(kept)


@router.get("/{certificate_id}", response_model=Envelope[CertificateOut])
def get_certificate(
    session: DB, token: CurrentToken, zone_id: ZoneIdPath, certificate_id: CertificateIdPath
) -> dict[str, Any]:
    zone = service.get(session, token.account_id, zone_id)
    found = certificates.get(session, zone, certificate_id)
    return answer(_out(session, zone, [found])[0])


@router.patch("/{certificate_id}", response_model=Envelope[CertificateOut])
def change_certificate(
    account_id: OwnAccountId,
    zone_id: ZoneIdPath,
    certificate_id: CertificateIdPath,
    body: CertificateChangeIn,
) -> dict[str, Any]:
    """Put a renewed certificate in the place of one. Without a key it has to be good for the one that is there."""
    _refuse_unsupported(body)
    key = body.private_key.get_secret_value() if body.private_key else None
    kept = flows.replace_certificate(
        account_id,
        zone_id,
        certificate_id,
        body.certificate,
        key,
        bundle_method=body.bundle_method,
    )
    return _answer(kept)


@router.delete("/{certificate_id}", response_model=Envelope[CertificateId])
def delete_certificate(
    account_id: OwnAccountId, zone_id: ZoneIdPath, certificate_id: CertificateIdPath
) -> dict[str, Any]:
    """Delete a certificate with its key."""
    flows.delete_certificate(account_id, zone_id, certificate_id)
    return answer({"id": certificate_id})


def _refuse_unsupported(body: CertificateChangeIn) -> None:
    """What is sent as Cloudflare has it, and would mean nothing here."""
    said = {
        "`type: legacy_custom`": body.type == "legacy_custom",
        "`geo_restrictions`": body.geo_restrictions is not None,
        "`policy`": bool(body.policy),
        "`custom_csr_id`": bool(body.custom_csr_id),
        "`deploy: staging`": body.deploy == "staging",
    }
    if named := [name for name, is_there in said.items() if is_there]:
        raise NotSupported(
            f"{' and '.join(named)} of a certificate {'is' if len(named) == 1 else 'are'} not supported by Skerry: "
            "every node shows it, to visitors who name the host (SNI). Nothing was changed."
        )


def _out(session: Session, zone: Zone, listed: list[Certificate]) -> list[dict[str, Any]]:
    shown = certificates.shown(certificates.of_zone(session, zone))
    return [certificate_out(one, zone, shown[one.id]) for one in listed]


def _answer(kept: Kept) -> dict[str, Any]:
    return answer(certificate_out(kept.certificate, kept.zone, kept.shown), kept.words)
