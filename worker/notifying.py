"""The two ways of telling somebody: a webhook, a mail."""

import json
import smtplib
import ssl
import time
from email.message import EmailMessage

import httpx2

from api.alerts import signing
from api.alerts.notices import Notice
from api.alerts.service import WEBHOOK
from api.settings import settings

TIMEOUT_SECONDS = 10.0


class NotToldError(Exception):
    """Why a notice was not taken; it is tried again."""


def notify(notice: Notice) -> None:
    """Raises NotToldError."""
    if notice.kind == WEBHOOK:
        _post(notice)
    else:
        _mail(notice)


def _post(notice: Notice) -> None:
    body = json.dumps({"id": notice.delivery_id, **notice.payload}).encode()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Skerry",
        "Skerry-Delivery": notice.delivery_id,
        **signing.headers(notice.secret, int(time.time()), body),
    }
    try:
        # A redirect is not followed: it would carry a signed notice to somebody else.
        answer = httpx2.post(
            notice.address, content=body, headers=headers, timeout=TIMEOUT_SECONDS, trust_env=False
        )
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        raise NotToldError(str(error) or type(error).__name__) from error
    if not 200 <= answer.status_code < 300:
        raise NotToldError(f"It answered {answer.status_code}.")


def _mail(notice: Notice) -> None:
    found = settings()
    if not found.smtp_host:
        raise NotToldError("No mail server is set: SKERRY_SMTP_HOST.")
    message = EmailMessage()
    message["From"] = found.smtp_from
    message["To"] = notice.address
    message["Subject"] = f"[Skerry] {notice.payload['text'].partition('. ')[0]}"
    message["Message-ID"] = f"<{notice.delivery_id}@skerry>"
    message.set_content(f"{notice.payload['text']}\n\n{found.public_url}/alerts\n")
    try:
        with _connected() as server:
            if found.smtp_user:
                server.login(found.smtp_user, found.smtp_password)
            server.send_message(message)
    except (OSError, smtplib.SMTPException) as error:
        raise NotToldError(str(error) or type(error).__name__) from error


def _connected() -> smtplib.SMTP:
    found = settings()
    address = (found.smtp_host, found.smtp_port)
    trust = ssl.create_default_context()
    if found.smtp_tls == "tls":
        return smtplib.SMTP_SSL(*address, timeout=TIMEOUT_SECONDS, context=trust)
    server = smtplib.SMTP(*address, timeout=TIMEOUT_SECONDS)
    if found.smtp_tls == "starttls":
        server.starttls(context=trust)
    return server
