"""An instance that was up at least once, as the other commands see it: its files, and its API over HTTP."""

import json
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Any

from launcher import config, ports
from launcher.errors import LauncherError
from launcher.paths import DataDirectory
from launcher.programs import Instance, direct


def find(data: DataDirectory) -> Instance:
    """The instance of a data directory; LauncherError when it was never up."""
    found = config.load(data.config)
    if not found.account_id or not data.api_token.exists():
        raise LauncherError(
            f"Nothing was ever started on {data.path}: run ./skerry up{data.flag} first."
        )
    return Instance(found, data)


def api_url(instance: Instance) -> str:
    """What Cloudflare's clients call the base URL; they append to it, so it has no slash at the end."""
    return instance.address(ports.CONTROL) + "/client/v4"


def api_token(instance: Instance) -> str:
    return instance.data.api_token.read_text().strip()


def any_hostname(instance: Instance, domain: str) -> str:
    """The host name below the apps domain of a script that is called NAME."""
    return f"NAME.{call(instance, '/workers/subdomain')['subdomain']}.{domain}"


def call(instance: Instance, path: str) -> Any:
    """The `result` of a GET below /accounts/ID; LauncherError with the API's own message otherwise."""
    request = urllib.request.Request(  # noqa: S310 - our own http URL
        f"{api_url(instance)}/accounts/{instance.config.account_id}{path}",
        headers={"Authorization": f"Bearer {api_token(instance)}"},
    )
    try:
        with direct.open(request, timeout=10.0) as response:
            return json.load(response)["result"]
    except urllib.error.HTTPError as error:
        raise LauncherError(_message(error)) from error
    except (OSError, HTTPException) as error:
        raise LauncherError(
            f"The API on {api_url(instance)} does not answer: start it with ./skerry up{instance.data.flag}."
        ) from error


def _message(error: urllib.error.HTTPError) -> str:
    try:
        problems = json.load(error)["errors"]
        return "; ".join(f"{problem['message']} (code {problem['code']})" for problem in problems)
    except (ValueError, LookupError, TypeError):
        return f"The API answered {error.code}."
