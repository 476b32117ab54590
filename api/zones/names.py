"""Names of hosts and zones: how they are written, and which ones nobody may have."""

import ipaddress
import re
from urllib.parse import urlsplit

import idna

from api.errors import ZoneNameInvalid
from api.settings import settings

# RFC 1035 without the root's dot; a label is what a DNS name has between its dots.
NAME_LENGTH_MAX = 253
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
# Before the name of a zone there is still room for `_skerry-challenge.`.
ZONE_LENGTH_MAX = NAME_LENGTH_MAX - len("_skerry-challenge.")


class HostNameError(ValueError):
    """A name that no host can have; its text ends the sentence `"…" is no host name: …`."""


def as_ascii(name: str) -> str:
    """A host name as DNS and browsers send it: lower case, international labels as A-labels, no dot
    at the end. Raises HostNameError with the reason."""
    name = name.strip().removesuffix(".").lower()
    if not name.isascii():
        try:
            name = idna.encode(name, uts46=True).decode()
        except (idna.IDNAError, UnicodeError) as error:
            raise HostNameError(f"{error}") from error
    if len(name) > NAME_LENGTH_MAX:
        raise HostNameError(f"it has more than {NAME_LENGTH_MAX} characters")
    labels = name.split(".")
    for label in labels:
        if not _LABEL.fullmatch(label):
            raise HostNameError(
                f"{label[:80]!r} is no label: use 1 to 63 letters, digits and hyphens between two dots"
            )
    if _is_address(name) or labels[-1].isdigit():
        raise HostNameError("it is an IP address")
    return name


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def within(name: str, zone: str) -> bool:
    """Whether a name is a zone's own or below it."""
    return name == zone or name.endswith(f".{zone}")


def zone_name(name: str) -> str:
    """The name of a zone as it is stored; raises ZoneNameInvalid for one that nobody may have."""
    try:
        ascii_name = as_ascii(name)
    except HostNameError as error:
        raise ZoneNameInvalid(
            f'"{name[:80]}" is no domain: {error}. Nothing was changed.'
        ) from error
    if len(ascii_name) > ZONE_LENGTH_MAX:
        raise ZoneNameInvalid(
            f"The name of a zone has at most {ZONE_LENGTH_MAX} characters. Nothing was changed."
        )
    if within(ascii_name, "localhost") or "." not in ascii_name:
        raise ZoneNameInvalid(
            f'"{ascii_name}" cannot be a zone: use a domain with a dot, as "example.com". '
            "Nothing was changed."
        )
    if reserved := _reserved(ascii_name):
        raise ZoneNameInvalid(f"{reserved} Nothing was changed.")
    return ascii_name


def _reserved(name: str) -> str | None:
    """Why a name belongs to the installation itself; None for one that does not."""
    apps = settings().apps_domain.lower()
    if within(name, apps):
        return f'"{name}" is under this installation\'s own domain {apps}, where live URLs are.'
    control = control_host()
    if control and within(name, control):
        return f'"{name}" is the name of this installation\'s control plane, or below it.'
    return None


def control_host() -> str | None:
    """The host name of the dashboard and the API; None when it is an address."""
    host = (urlsplit(settings().public_url).hostname or "").lower()
    return None if not host or _is_address(host) else host


def reserved_host(host: str) -> str | None:
    """Why no route and no domain may have this host, which lies in a zone; None when it may.

    A zone may be above the apps domain (`example.com` with live URLs below `apps.example.com`), but a
    wildcard of it must not reach the live URLs, for routes come before them.
    """
    name = host.removeprefix("*").removeprefix(".")
    if reserved := _reserved(name):
        return reserved
    apps = settings().apps_domain.lower()
    if host.startswith("*") and f".{apps}".endswith(host.removeprefix("*")):
        return f'"{host}" would catch the live URLs under {apps}.'
    return None
