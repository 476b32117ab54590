"""The variables that connect wrangler: the launcher's own, in words that each shell reads back."""

import html
import re
import subprocess
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from api.accounts.models import Account
from api.private_file import write_private
from api.settings import settings
from dashboard import connecting
from launcher import environment
from launcher.config import Config
from launcher.paths import DataDirectory
from launcher.programs import Instance

ODD = 'it\'s a "$(touch x)" `y` \\ everything'


def _block(page: str, name: str) -> list[str]:
    (found,) = re.findall(rf'id="{name}"[^>]*><code>(.*?)</code>', page, re.S)
    return html.unescape(found).splitlines()


def test_the_page_has_this_instances_values(ada: TestClient, account: Account) -> None:
    page = ada.get("/connect").text

    lines = _block(page, "posix")
    assert "export CLOUDFLARE_API_BASE_URL=http://testserver/client/v4" in lines
    assert f"export CLOUDFLARE_ACCOUNT_ID={account.id}" in lines
    assert "export WRANGLER_AUTH_DOMAIN=testserver" in lines
    assert f"export CLOUDFLARE_API_TOKEN={connecting.TOKEN_PLACEHOLDER}" in lines
    assert f"set -gx CLOUDFLARE_ACCOUNT_ID '{account.id}'" in _block(page, "fish")
    assert f"$Env:CLOUDFLARE_ACCOUNT_ID = '{account.id}'" in _block(page, "powershell")
    assert 'href="/tokens#new"' in page
    assert "npx wrangler deploy" in page


def test_a_public_address_is_used_whoever_asks(
    ada: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings(), "public_url", "https://skerry.example.org/")
    lines = _block(ada.get("/connect").text, "posix")

    assert "export CLOUDFLARE_API_BASE_URL=https://skerry.example.org/client/v4" in lines
    assert "export WRANGLER_AUTH_DOMAIN=skerry.example.org" in lines


def test_the_variables_are_those_of_the_launcher(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path)
    instance = Instance(
        Config(ports={"control": 8700, "edge-1.http": 8080}, account_id="0" * 32), data
    )
    write_private(data.api_token, "skt_x\n")
    ours = environment.variables(instance)
    # For people on that machine: wrangler does not read the one, and the other is a file there.
    del ours["SKERRY_HTTP_PORT"], ours["NODE_EXTRA_CA_CERTS"]

    assert connecting.variables("http://127.0.0.1:8700", "0" * 32, "skt_x") == ours


def test_a_posix_shell_reads_back_every_value() -> None:
    script = f'{connecting.posix("ODD", ODD)}\nprintf %s "$ODD"'
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == ODD


def test_other_shells_quote_by_their_own_rules() -> None:
    """Single quotes: fish escapes a quote and a backslash with one, PowerShell doubles the quote."""
    assert connecting.fish("A", "it's \\ $x") == r"set -gx A 'it\'s \\ $x'"
    assert connecting.powershell("A", "it's \\ $x") == r"$Env:A = 'it''s \ $x'"
