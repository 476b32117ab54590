"""`./skerry env`: shell exports that point an unmodified wrangler, or an SDK, at this machine."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

from api.private_file import write_private
from launcher import ports, started
from launcher.errors import LauncherError
from launcher.paths import NODE_22_BIN, DataDirectory
from launcher.programs import Instance

# wrangler 4.164 refuses to start below it.
OLDEST_NODE = (22, 12)


def variables(instance: Instance) -> dict[str, str]:
    """The variables of reference/cloudflare-api.md, section 1: our addresses, and nothing that calls elsewhere."""
    base = started.api_url(instance)
    site = instance.address(ports.CONTROL)
    return {
        "CLOUDFLARE_API_BASE_URL": base,
        "CLOUDFLARE_BASE_URL": base,
        "CLOUDFLARE_API_TOKEN": started.api_token(instance),
        "CLOUDFLARE_ACCOUNT_ID": instance.config.account_id,
        "SKERRY_HTTP_PORT": str(instance.config.ports["edge-1.http"]),
        # `wrangler login` would ask dash.cloudflare.com otherwise.
        "WRANGLER_AUTH_DOMAIN": site.removeprefix("http://"),
        "WRANGLER_AUTH_URL": f"{site}/oauth2/auth",
        "WRANGLER_TOKEN_URL": f"{site}/oauth2/token",
        "WRANGLER_REVOKE_URL": f"{site}/oauth2/revoke",
        "WRANGLER_SEND_METRICS": "false",
        "WRANGLER_SEND_ERROR_REPORTS": "false",
        "WRANGLER_HIDE_BANNER": "true",
        "CREATE_CLOUDFLARE_TELEMETRY_DISABLED": "1",
        "CLOUDFLARE_CF_FETCH_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "NODE_EXTRA_CA_CERTS": str(_extra_authorities(instance.data)),
    }


def _extra_authorities(data: DataDirectory) -> Path:
    """A file with the instance's authority, for Node to trust beside the usual ones.

    Node reads one file. Where the shell names one already, such as that of a company's proxy, both go into one: npm
    would not get through that proxy any more.
    """
    given = Path(os.environ.get("NODE_EXTRA_CA_CERTS") or data.ca)
    try:
        ours, theirs = data.ca.read_text(), given.read_text()
    except OSError:
        return data.ca
    if ours in theirs:
        return given
    write_private(data.authorities, f"{theirs.rstrip()}\n{ours}")
    return data.authorities


def node_version(program: str = "node") -> tuple[int, ...] | None:
    """The version of a node, or None where there is none that runs."""
    found = shutil.which(program)
    if found is None:
        return None
    done = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
    numbers = re.match(r"v(\d+)\.(\d+)", done.stdout)
    return (int(numbers[1]), int(numbers[2])) if numbers else None


def exports(instance: Instance, node: tuple[int, ...] | None) -> str:
    """Lines for a POSIX shell; `node` is the version that the machine has."""
    lines = [f"export {name}={shlex.quote(value)}" for name, value in variables(instance).items()]
    if node is None or node < OLDEST_NODE:
        lines.append(f'export PATH={shlex.quote(str(NODE_22_BIN))}:"$PATH"')
    return "\n".join(lines)


def print_exports(data: DataDirectory) -> int:
    print(exports(started.find(data), node_version()))
    return 0


def print_url(data: DataDirectory, script: str, *, https: bool) -> int:
    """`./skerry url NAME`: where a script answers. Without a live URL that is its first custom domain."""
    instance = started.find(data)
    subdomain = started.call(instance, f"/workers/workers/{script}").get("subdomain") or {}
    url = subdomain.get("url")
    if subdomain.get("enabled", True) and url:
        print(instance.origin(str(urlsplit(url).hostname), "https") if https else url)
        return 0
    domains = started.call(instance, f"/workers/domains?service={script}")
    if not domains:
        raise LauncherError(
            f"{script} has no URL: its subdomain is off, and it has no custom domain."
        )
    print(instance.origin(str(domains[0]["hostname"]), "https" if https else "http"))
    return 0
