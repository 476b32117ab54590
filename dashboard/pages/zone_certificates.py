"""The certificates of a zone: uploaded, replaced, deleted. Nobody is shown a key again, not even who typed it."""

from collections.abc import Callable
from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Form as Field, Path, Request, Response
from sqlalchemy.orm import Session

from api.db import DB, transaction
from api.errors import CertificateKeyInvalid, CertificateKeyMismatch, Refused, TooLarge
from api.zones import certificates, flows
from api.zones.flows import Kept
from api.zones.models import Certificate, Zone
from dashboard.certificates import certificates_of
from dashboard.forms import Form
from dashboard.pages.zones import ChangedZone, ShownZone, address_of, go_to, show_zone
from dashboard.templating import render

log = structlog.get_logger()
router = APIRouter(prefix="/zones/{zone}/certificates")
Text = Annotated[str, Field()]
Id = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]


@router.post("")
def upload(
    request: Request, zone: ChangedZone, certificate: Text = "", private_key: Text = ""
) -> Response:
    form = _form(certificate, private_key)
    kept = _kept(
        form,
        lambda: flows.upload_certificate(zone.account_id, zone.id, certificate, private_key),
    )
    if kept is not None:
        return _done(request, kept)
    with transaction() as session:
        return show_zone(request, session, zone, certificate_form=form)


def _form(certificate: str, private_key: str) -> Form:
    """With the certificate as it was typed, unless there is a key in that."""
    typed = "" if "PRIVATE KEY" in certificate else certificate.replace("\r\n", "\n")
    form = Form({"certificate": typed})
    if not certificate.strip():
        form.refuse("certificate", "Paste the certificate, with its chain.")
    if not private_key.strip():
        form.refuse("private_key", "Paste the private key of the certificate.")
    return form


def _kept(form: Form, change: Callable[[], Kept]) -> Kept | None:
    """What came of the change, unless the form is refused: a key beside its field, all else beside the certificate."""
    if not form.valid:
        return None
    try:
        return change()
    except (CertificateKeyInvalid, CertificateKeyMismatch) as problem:
        form.refuse("private_key", problem.message)
    except (Refused, TooLarge) as problem:
        form.refuse("certificate", problem.message)
    return None


def _done(request: Request, kept: Kept) -> Response:
    log.info("certificate_taken", zone=kept.zone.name, certificate_id=kept.certificate.id)
    said = " ".join(["The certificate is taken.", *kept.words])
    return go_to(request, address_of(kept.zone), said)


def _certificate(session: DB, zone: ShownZone, certificate_id: Id) -> Certificate:
    return certificates.get(session, zone, certificate_id)


@router.get("/{certificate_id}")
def edit(
    request: Request,
    session: DB,
    zone: ShownZone,
    found: Annotated[Certificate, Depends(_certificate)],
) -> Response:
    return _edit(request, session, zone, found, Form())


def _edit(
    request: Request, session: Session, zone: Zone, found: Certificate, form: Form
) -> Response:
    lines = certificates_of(zone, certificates.of_zone(session, zone))
    return render(
        request,
        "zones/certificate.html",
        status_code=200 if form.valid else 422,
        zone=zone,
        here=address_of(zone),
        line=next(line for line in lines if line.certificate.id == found.id),
        certificate_form=form,
    )


@router.post("/{certificate_id}")
def replace(
    request: Request,
    zone: ChangedZone,
    certificate_id: Id,
    certificate: Text = "",
    private_key: Text = "",
) -> Response:
    form = _form(certificate, private_key)
    kept = _kept(
        form,
        lambda: flows.replace_certificate(
            zone.account_id, zone.id, certificate_id, certificate, private_key
        ),
    )
    if kept is not None:
        return _done(request, kept)
    with transaction() as session:
        found = certificates.get(session, zone, certificate_id)
        return _edit(request, session, zone, found, form)


@router.post("/{certificate_id}/delete")
def delete(request: Request, zone: ChangedZone, certificate_id: Id) -> Response:
    flows.delete_certificate(zone.account_id, zone.id, certificate_id)
    return go_to(
        request,
        address_of(zone),
        "The certificate is deleted with its key, within seconds on every node.",
    )
