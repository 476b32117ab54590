"""What the front shows under a name without a certificate."""

import stat
from pathlib import Path

import pytest

from edge.agent.front.certificate import ensure_default_certificate
from edge.agent.settings import SettingsError


def test_a_node_signs_one_itself_and_keeps_it(tmp_path: Path) -> None:
    shown = tmp_path / "default.pem"
    ensure_default_certificate(shown, {})
    first = shown.read_bytes()
    assert b"BEGIN CERTIFICATE" in first
    assert b"BEGIN PRIVATE KEY" in first
    ensure_default_certificate(shown, {})
    assert shown.read_bytes() == first


def test_a_given_one_replaces_it_at_every_start(tmp_path: Path) -> None:
    shown, given = tmp_path / "default.pem", tmp_path / "given.pem"
    ensure_default_certificate(shown, {})
    for content in (b"one", b"renewed"):
        given.write_bytes(content)
        ensure_default_certificate(shown, {"SKERRY_CERTIFICATE": str(given)})
        assert shown.read_bytes() == content
        assert stat.S_IMODE(shown.stat().st_mode) == 0o600


def test_a_given_one_that_is_not_there(tmp_path: Path) -> None:
    environ = {"SKERRY_CERTIFICATE": str(tmp_path / "nowhere.pem")}
    with pytest.raises(SettingsError, match=r"SKERRY_CERTIFICATE: .*nowhere\.pem: No such file"):
        ensure_default_certificate(tmp_path / "default.pem", environ)
