"""The instance's own authority: made once, good for its domain only; and who is told to trust it."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

from launcher import authority, trust
from launcher.errors import LauncherError
from launcher.paths import DataDirectory, program_path


def verified(data: DataDirectory, ca: Path | None = None) -> str:
    """What OpenSSL says of the nodes' certificate."""
    done = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-CAfile", str(ca or data.ca), str(data.certificate)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


def names(data: DataDirectory) -> list[str]:
    return authority.names(authority.load(data.certificate))


def test_it_is_made_once_and_a_certificate_for_every_change(data: DataDirectory) -> None:
    authority.ensure(data, "localhost", ["dev"])
    ca, first = data.ca.read_bytes(), data.certificate.read_bytes()
    assert "OK" in verified(data)
    assert names(data) == ["localhost", "*.dev.localhost"]
    authority.ensure(data, "localhost", ["dev"])
    assert data.certificate.read_bytes() == first
    authority.ensure(data, "localhost", ["other", "dev"])
    assert names(data) == ["localhost", "*.dev.localhost", "*.other.localhost"]
    assert data.ca.read_bytes() == ca
    assert "OK" in verified(data)
    for path in (data.ca, data.ca_key, data.certificate):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_another_domain_needs_another_authority(data: DataDirectory, tmp_path: Path) -> None:
    authority.ensure(data, "localhost", ["dev"])
    before = tmp_path / "before.pem"
    before.write_bytes(data.ca.read_bytes())
    authority.ensure(data, "apps.example.org", ["dev"])
    assert names(data) == ["apps.example.org", "*.dev.apps.example.org"]
    assert "OK" in verified(data)
    assert "OK" not in verified(data, before)


def test_it_is_good_for_no_other_domain(data: DataDirectory) -> None:
    authority.ensure(data, "localhost", ["dev"])
    # What somebody would do who stole the key.
    authority._make_leaf(data, ["bank.example"])
    assert "permitted subtree violation" in verified(data)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes the system's list")
def test_the_system_is_told_and_told_again(data: DataDirectory, tmp_path: Path) -> None:
    if program_path("update-ca-certificates") is None:
        pytest.skip("there is no update-ca-certificates here")
    authority.ensure(data, "localhost", ["dev"])
    folders = {name: tmp_path / name for name in ("localcertsdir", "etccertsdir", "hooksdir")}
    for folder in folders.values():
        folder.mkdir()
    flags = [word for name, folder in folders.items() for word in (f"--{name}", str(folder))]
    everything = folders["etccertsdir"] / "ca-certificates.crt"
    store = trust.SystemStore(folders["localcertsdir"], tuple(flags), everything)
    assert not store.trusts(data.ca)
    name, ca = trust.name_of(data), data.ca.read_text()

    assert store.put(name, data.ca) == f"Trusted by this system: {store.folder}/{name}.crt"
    assert ca in everything.read_text()
    assert store.trusts(data.ca)
    assert stat.S_IMODE((store.folder / f"{name}.crt").stat().st_mode) == 0o644
    # The list that programs read is what makes the difference.
    assert "OK" in verified(data, everything)
    assert store.remove(name).startswith("No longer trusted by this system")
    assert ca not in everything.read_text()
    assert not store.trusts(data.ca)
    assert store.remove(name).startswith("This system did not trust it")


def test_nothing_can_be_trusted_before_the_first_start(data: DataDirectory) -> None:
    with pytest.raises(LauncherError, match=r"has no authority yet: run \./skerry up"):
        trust.run(data, remove=False)
