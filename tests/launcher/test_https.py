"""What ./skerry doctor says of HTTPS, for each state that a person can get into."""

import shutil
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from launcher import authority, https, nodes
from launcher.config import Config
from launcher.findings import FAIL, OK, WARN
from launcher.paths import DataDirectory
from launcher.programs import Instance


@pytest.fixture(autouse=True)
def _no_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NODE_EXTRA_CA_CERTS", raising=False)


def told(data: DataDirectory) -> dict[str, tuple[str, str]]:
    return {found.subject: (found.level, found.text) for found in https.findings(data)}


def test_before_the_first_up_there_is_nothing_to_do(data: DataDirectory) -> None:
    assert told(data) == {
        "authority": (OK, f"none yet: ./skerry up --data {data.path} makes one for HTTPS")
    }


def test_what_is_good_for_how_long_and_for_whom(
    data: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority.ensure(data, "localhost", ["dev"])
    found = told(data)
    ends = authority.load(data.certificate).not_valid_after_utc
    assert found["certificate"] == (OK, f"localhost, *.dev.localhost; valid until {ends:%Y-%m-%d}")
    assert found["authority"][0] == OK
    assert found["authority"][1].startswith("for localhost and names below; valid until ")
    flag = f"--data {data.path}"
    assert found["trust"][0] == WARN
    assert found["trust"][1].endswith(f": ./skerry trust {flag}")
    assert found["node's trust"] == (
        WARN,
        f'NODE_EXTRA_CA_CERTS is not set here: eval "$(./skerry env {flag})"',
    )
    # Another instance's, then ours beside others.
    monkeypatch.setenv("NODE_EXTRA_CA_CERTS", str(data.path / "gone.pem"))
    assert "gone.pem, without this instance's authority" in told(data)["node's trust"][1]
    both = data.path / "both.pem"
    both.write_text("# a proxy's\n" + data.ca.read_text())
    monkeypatch.setenv("NODE_EXTRA_CA_CERTS", str(both))
    assert told(data)["node's trust"] == (OK, f"NODE_EXTRA_CA_CERTS is {both}")


@pytest.mark.parametrize(("days", "level"), [(30, WARN), (-1, FAIL)])
def test_a_certificate_that_ends_is_told_with_what_makes_a_new_one(
    data: DataDirectory, monkeypatch: pytest.MonkeyPatch, days: int, level: str
) -> None:
    monkeypatch.setattr(authority, "LEAF_LIFETIME", timedelta(days=days))
    if days < 0:
        # No certificate ends before it begins: this one began a while ago.
        began = authority.now() - timedelta(days=10)
        monkeypatch.setattr("api.certificates.now", lambda: began)
        monkeypatch.setattr(authority, "LEAF_LIFETIME", timedelta(days=9))
    authority.ensure(data, "localhost", ["dev"])
    found, text = told(data)["certificate"]
    flag = f"--data {data.path}"
    assert found == level
    assert text.endswith(f": ./skerry down {flag} and ./skerry up {flag} make a new one")


def test_a_certificate_of_another_authority_is_recognised(
    data: DataDirectory, tmp_path: Path
) -> None:
    other = DataDirectory(tmp_path)
    for one in (data, other):
        authority.ensure(one, "localhost", ["dev"])
    shutil.copy(other.certificate, data.certificate)
    level, text = told(data)["certificate"]
    assert level == FAIL
    assert text.startswith(f"not signed by this authority: remove {data.certificate}, then ")
    # And doing so helps.
    data.certificate.unlink()
    authority.ensure(data, "localhost", ["dev"])
    assert told(data)["certificate"][0] == OK


def test_files_that_are_none_are_told(data: DataDirectory) -> None:
    authority.ensure(data, "localhost", ["dev"])
    data.certificate.write_text("half a file")
    level, text = told(data)["authority"]
    assert level == FAIL
    assert f"remove {data.certificates}, then ./skerry up --data {data.path}" in text


@pytest.fixture
def front(data: DataDirectory) -> Iterator[socket.socket]:
    """A server that shows what front.pem has at its start."""
    authority.ensure(data, "localhost", ["dev"])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        shown = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        shown.load_cert_chain(data.certificate)

        def serve() -> None:
            while True:
                with suppress(OSError):
                    try:
                        visitor, _ = listener.accept()
                    except OSError:
                        return
                    with visitor, shown.wrap_socket(visitor, server_side=True):
                        pass

        threading.Thread(target=serve, daemon=True).start()
        yield listener
        listener.shutdown(socket.SHUT_RDWR)


def test_what_the_front_shows_is_looked_at(data: DataDirectory, front: socket.socket) -> None:
    port = front.getsockname()[1]
    instance = Instance(Config(ports={"edge-1.https": port}), data)
    names = ["localhost", "*.dev.localhost"]
    found = https._front(instance, names)
    assert found.level == OK
    assert found.text.startswith(
        f"port {port} answers as any.dev.localhost; wrangler prints no port"
    )

    # Another authority since the front's start, which this system does not trust either.
    data.ca.unlink()
    authority.ensure(data, "localhost", ["dev"])
    found = https._front(instance, names)
    assert found.level == FAIL
    assert found.text.startswith(f"port {port} shows another certificate (")

    instance.config.ports["edge-1.https"] = 1
    found = https._front(instance, names)
    assert (found.level, found.text.split("(")[0]) == (FAIL, "port 1 does not answer ")


def test_a_node_shows_the_certificate_that_it_is_given(
    data: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = dict.fromkeys(("edge-1.http", "edge-1.https", "edge-1.agent", "gateway"), 1)
    instance = Instance(Config(ports=wanted), data)

    def given() -> str:
        return nodes.agent(instance, "edge-1", None).environment["SKERRY_CERTIFICATE"]

    monkeypatch.delenv("SKERRY_CERTIFICATE", raising=False)
    assert given() == str(data.certificate)
    monkeypatch.setenv("SKERRY_CERTIFICATE", "/etc/ssl/private/example.pem")
    assert given() == "/etc/ssl/private/example.pem"
