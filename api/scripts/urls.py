"""Where a script answers."""

from api.scripts.models import Script
from api.settings import settings

_SCHEME_PORTS = {"http": 80, "https": 443}


def hostname(script: Script) -> str:
    """`<script>.<subdomain>.<apps domain>`; underscores cannot stand in a host name."""
    return f"{script.name}.{script.account.subdomain}.{settings().apps_domain}".lower()


def hostnames(script: Script) -> list[str]:
    """Every host name that leads to the script now."""
    return [hostname(script)] if script.subdomain_enabled and not script.deleted_at else []


def origin(host: str) -> str:
    """Scheme, host and, unless it is the scheme's own, port."""
    configured = settings()
    port = configured.apps_http_port
    suffix = "" if _SCHEME_PORTS[configured.apps_scheme] == port else f":{port}"
    return f"{configured.apps_scheme}://{host}{suffix}"


def script_url(script: Script) -> str | None:
    """The live URL, or None while the subdomain is off."""
    return origin(hostname(script)) if script.subdomain_enabled else None
