"""A name of one's own: a zone added by clicking, names of it led to a Worker, and taken away again."""

import socket
import ssl
import time

import psycopg
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from playwright.sync_api import Page, expect

from launcher import config, postgres
from launcher.paths import DataDirectory
from tests.browser.looking import Eye
from tests.browser.test_journeys import create, deploy_again
from tests.certificates import Issued, issue
from tests.platform import SETTLE_SECONDS, Platform

pytestmark = [pytest.mark.browser, pytest.mark.platform, pytest.mark.xdist_group("platform")]

ZONE, WORKER = "clicked.example", "zone-worker"
HOST = f"till.{ZONE}"


def make_pending(platform: Platform) -> None:
    """As the zone is where `SKERRY_ZONE_PROOF=dns` says so; this instance believes whoever comes first."""
    found = config.load(DataDirectory(platform.data.resolve()).config)
    url = postgres.url(found.ports["postgres"], found.password("postgres"))
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as database:
        database.execute(
            "UPDATE zones SET status = 'pending', next_check_at = now() + interval '1 hour' WHERE name = %s",
            [ZONE],
        )


def leads(platform: Platform, host: str, path: str, text: str) -> None:
    """Assert what a route's Worker says there, now or as soon as a busy machine gets to it."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while (answer := platform.get(host, path)).text != text and time.monotonic() < deadline:
        time.sleep(0.1)
    assert (answer.status_code, answer.text) == (200, text)


def shown(platform: Platform, host: str) -> bytes | None:
    """The certificate that a node's front shows a visitor of a host, DER."""
    port = config.load(DataDirectory(platform.data.resolve()).config).ports["edge-1.https"]
    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as connection,
        trust.wrap_socket(connection, server_hostname=host) as visit,
    ):
        return visit.getpeercert(binary_form=True)


def is_shown(platform: Platform, host: str, issued: Issued) -> None:
    deadline = time.monotonic() + SETTLE_SECONDS
    expected = issued.certificate.public_bytes(Encoding.DER)
    while (found := shown(platform, host)) != expected and time.monotonic() < deadline:
        time.sleep(0.2)
    assert found == expected


def certify(page: Page, ada: Eye, platform: Platform) -> None:
    """Upload a certificate that ends soon, after a key that is not its own, look at it and at what visitors are
    shown; then go back."""
    issued, other = issue(HOST, days=9), issue(HOST)
    expect(page.get_by_text("HTTPS shows the nodes' own certificate")).to_be_visible()
    page.get_by_label("Certificate", exact=True).fill(issued.chain)
    page.get_by_label("Private key", exact=True).fill(other.key)
    page.get_by_role("button", name="Upload the certificate").click()
    expect(page.get_by_role("alert")).to_be_focused()
    expect(page.get_by_label("Certificate", exact=True)).to_have_value(issued.chain)
    expect(page.get_by_label("Private key", exact=True)).to_have_value("")
    ada.look(page, "zone-certificates-refused")
    page.get_by_label("Private key", exact=True).fill(issued.key)
    page.get_by_role("button", name="Upload the certificate").click()
    expect(page.get_by_text("The certificate is taken.")).to_be_visible()
    expect(page.get_by_text("8 d left")).to_be_visible()
    expect(page.get_by_text("HTTPS shows the nodes' own certificate")).to_have_count(0)
    ada.look(page, "zone-certificates")
    is_shown(platform, HOST, issued)
    assert shown(platform, f"other.{ZONE}") != issued.certificate.public_bytes(Encoding.DER)
    page.get_by_role("link", name=f"Replace the certificate of {HOST}").click()
    ada.look(page, "zone-certificate")
    page.get_by_role("link", name="Keep it as it is").click()


def test_a_name_from_its_zone_to_its_end(page: Page, ada: Eye, platform: Platform) -> None:
    page.goto("/workers")
    create(page, "Hello World", WORKER)
    deploy_again(platform, "zone-other", "other")
    page.get_by_role("link", name="Zones", exact=True).click()
    expect(page.get_by_text("A zone is a domain that is yours")).to_be_visible()
    ada.look(page, "zones-none")
    page.get_by_label("Domain", exact=True).fill("localhost")
    page.get_by_role("button", name="Add the zone").click()
    expect(page.get_by_role("alert")).to_be_focused()
    ada.look(page, "zones-refused")
    page.get_by_label("Domain", exact=True).fill(ZONE)
    page.get_by_role("button", name="Add the zone").click()
    expect(page.get_by_role("heading", name=ZONE, exact=True)).to_be_visible()
    ada.look(page, "zone-empty")

    page.get_by_label("Host name", exact=True).fill(HOST)
    page.get_by_label("Worker", exact=True).first.select_option(WORKER)
    page.get_by_role("button", name="Add the custom domain").click()
    expect(page.get_by_text(f"{WORKER} answers at {HOST}")).to_be_visible()
    platform.answers(HOST, "Hello World!")

    page.get_by_label("Pattern", exact=True).fill(f"{ZONE}/a*b*")
    page.get_by_label("Worker", exact=True).last.select_option(WORKER)
    page.get_by_role("button", name="Add the route").click()
    expect(page.get_by_role("alert")).to_be_focused()
    ada.look(page, "zone-refused")
    page.get_by_label("Pattern", exact=True).fill(f"{ZONE}/api/*")
    page.get_by_role("button", name="Add the route").click()
    expect(page.get_by_text(f"{ZONE}/api/* leads to {WORKER}")).to_be_visible()
    ada.look(page, "zone-full")
    certify(page, ada, platform)
    page.get_by_role("link", name=f"Change {ZONE}/api/*").click()
    ada.look(page, "zone-route")
    page.get_by_label("Worker", exact=True).select_option("zone-other")
    page.get_by_role("button", name="Save the route").click()
    expect(page.get_by_text(f"{ZONE}/api/* leads to zone-other")).to_be_visible()
    leads(platform, ZONE, "/api/x?y", "other")
    platform.has_nothing_at(ZONE)

    page.goto(f"/workers/{WORKER}")
    expect(page.get_by_role("link", name=HOST)).to_be_visible()
    ada.look(page, "overview-domain")
    page.get_by_role("link", name="Settings", exact=True).click()
    page.get_by_label("Route", exact=True).fill(f"*.{ZONE}/*")
    page.get_by_role("button", name="Add route").click()
    expect(page.get_by_text(f"*.{ZONE}/* leads to {WORKER}")).to_be_visible()
    leads(platform, f"any.{ZONE}", "/x", "Hello World!")
    page.get_by_label("Custom domain", exact=True).fill("till.elsewhere.example")
    page.get_by_role("button", name="Add custom domain").click()
    expect(page.get_by_role("alert")).to_be_focused()
    ada.look(page, "settings-domains")
    page.get_by_role("button", name=f"Delete *.{ZONE}/*").click()
    expect(page.get_by_text(f"*.{ZONE}/* is deleted")).to_be_visible()
    page.get_by_role("button", name=f"Remove {HOST}").click()
    expect(page.get_by_text(f"{HOST} is removed")).to_be_visible()
    platform.has_nothing_at(HOST)
    platform.has_nothing_at(f"any.{ZONE}")

    page.goto("/zones")
    ada.look(page, "zones-list")
    make_pending(platform)
    page.goto(f"/zones/{ZONE}")
    expect(page.get_by_role("heading", name="Prove that it is yours")).to_be_visible()
    ada.look(page, "zone-pending")
    page.get_by_role("button", name="Check now").click()
    expect(page.get_by_text(f"{ZONE} is active.")).to_be_visible()
    page.get_by_role("link", name="Delete zone…").click()
    expect(page.get_by_text("1 route and 0 custom domains go with it")).to_be_visible()
    ada.look(page, "zone-delete")
    page.get_by_role("button", name=f"Delete {ZONE}").click()
    expect(page.get_by_text(f"{ZONE} is deleted.")).to_be_visible()
    deadline = time.monotonic() + SETTLE_SECONDS
    while platform.get(ZONE, "/api/x").status_code != 404 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert platform.get(ZONE, "/api/x").status_code == 404
