"""Custom certificates: what the front shows for which name, while they come, change and go."""

import contextlib
import http.client
import os
import signal
import socket
import ssl
import stat
import threading
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from edge.agent.gateway import read_desired
from edge.wire import WireError
from tests.edge.bundles import Json
from tests.edge.gateway import Authority, Gateway, pem
from tests.edge.nodes import TestNode, running_node, until

pytestmark = pytest.mark.edge

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def item(authority: Authority, *names: str, key: PrivateKey | None = None) -> Json:
    key = key or ec.generate_private_key(ec.SECP256R1())
    leaf = authority.sign(names[0], key.public_key(), *names)
    return {
        "id": uuid.uuid4().hex,
        "names": list(names),
        # With empty lines, as people paste it.
        "chain": f"\n{pem(leaf)}\n\n{pem(authority.certificate)}\n",
        "key": private(key),
    }


def private(key: PrivateKey, password: bytes | None = None) -> str:
    encryption = (
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption()
    )
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    ).decode()


def serial(one: Json) -> int:
    return x509.load_pem_x509_certificate(str(one["chain"]).encode()).serial_number


def send(node: TestNode, items: Iterable[Json]) -> None:
    """Until the node has done what it does about them."""
    gateway = node.gateway
    gateway.certificates = sorted(items, key=lambda one: str(one["id"]))
    wanted, since = gateway.certificates_digest(), len(gateway.asked)
    until(
        lambda: any(one.endswith(f"certificates={wanted}") for one in gateway.asked[since:]),
        30,
        f"the node has the certificates\n{node.log()}",
    )


@contextmanager
def connected(
    node: TestNode, name: str | None, trust: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> Iterator[ssl.SSLSocket]:
    raw = socket.create_connection(("127.0.0.1", node.https_port), 10)
    wrapped = trust.wrap_socket(raw, server_hostname=name, session=session)
    with contextlib.closing(wrapped) as connection:
        yield connection


def shown(node: TestNode, name: str | None) -> int:
    """The serial number of what the front shows to who asks for this name, trusted or not."""
    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    with connected(node, name, trust) as connection:
        found = connection.getpeercert(binary_form=True)
    assert found
    return x509.load_der_x509_certificate(found).serial_number


def trusting(authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=pem(authority.certificate))


def default(node: TestNode) -> int:
    content = (node.folder / "front" / "default.pem").read_bytes()
    return x509.load_pem_x509_certificate(content).serial_number


def front_pid(node: TestNode) -> int:
    (pid,) = node.pids("front")
    return pid


def files(node: TestNode) -> list[Path]:
    return list((node.folder / "front" / "certificates").iterdir())


def kill_front(node: TestNode) -> None:
    before = front_pid(node)
    os.kill(before, signal.SIGKILL)

    def another_answers() -> bool:
        with contextlib.suppress(OSError):
            return f"Pid: {before}\n" not in node.admin("show info")
        return False

    until(another_answers, what="another front answers")


def test_each_name_has_its_certificate_and_all_others_the_default_one(node: TestNode) -> None:
    pid, authority = front_pid(node), node.gateway.authority
    one = item(authority, "app.example.com", "*.example.com")
    two = item(authority, "www.example.net", key=rsa.generate_private_key(65537, 2048))
    send(node, [one, two])
    assert shown(node, "app.example.com") == shown(node, "API.example.com") == serial(one)
    assert shown(node, "www.example.net") == serial(two)
    for name in ("example.com", "a.b.example.com", "example.net", "www.example.net.test", None):
        assert shown(node, name) == default(node), name
    with connected(node, "any.example.com", trusting(authority)) as connection:
        assert connection.getpeercert()
    assert front_pid(node) == pid
    assert {stat.S_IMODE(path.stat().st_mode) for path in files(node)} == {0o600}


def test_the_node_says_when_they_end(node: TestNode) -> None:
    send(node, [item(node.gateway.authority, "*.ends.test", "ends.test")])
    since = len(node.enrolled.reports)
    until(lambda: len(node.enrolled.reports) > since + 1, what="a report")
    condition = node.enrolled.reports[-1]["condition"]
    assert isinstance(condition, dict)
    assert [one["name"] for one in condition["certificates"]] == ["agent", "front", "*.ends.test"]


def test_one_is_removed(node: TestNode) -> None:
    pid, authority = front_pid(node), node.gateway.authority
    stays, goes = item(authority, "stays.test"), item(authority, "goes.test")
    send(node, [stays, goes])
    assert shown(node, "goes.test") == serial(goes)
    send(node, [stays])
    assert shown(node, "goes.test") == default(node)
    assert shown(node, "stays.test") == serial(stays)
    assert len(files(node)) == 1
    assert "goes.test" not in node.admin("show ssl cert")
    assert front_pid(node) == pid


class Crowd:
    """Visitors who trust the authority and come again and again."""

    def __init__(self, node: TestNode, name: str) -> None:
        self._node, self._name = node, name
        self._over = threading.Event()
        self.failures: list[OSError] = []
        self.seen: list[int] = []
        """Serial numbers."""
        self.resumed = 0
        """How many sessions went on in another connection."""

    @contextmanager
    def coming(self) -> Iterator[None]:
        resuming = trusting(self._node.gateway.authority)
        resuming.maximum_version = ssl.TLSVersion.TLSv1_2  # so that a handshake ends with a session
        plain = trusting(self._node.gateway.authority)
        threads = [
            threading.Thread(target=self._visit_often, args=(trust, again))
            for trust, again in ((plain, False), (plain, False), (resuming, True))
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join()

    def _visit_often(self, trust: ssl.SSLContext, again: bool) -> None:
        session: ssl.SSLSession | None = None
        while not self._over.is_set():
            try:
                with connected(self._node, self._name, trust, session) as connection:
                    session = connection.session if again else None
                    self.resumed += bool(connection.session_reused)
                    found = connection.getpeercert(binary_form=True)
            except OSError as error:
                self.failures.append(error)
            else:
                assert found
                self.seen.append(x509.load_der_x509_certificate(found).serial_number)


def test_no_handshake_fails_while_one_is_renewed(node: TestNode) -> None:
    authority = node.gateway.authority
    newest = item(authority, "*.renewed.test")
    send(node, [newest])
    pid, sent = front_pid(node), [serial(newest)]
    crowd = Crowd(node, "shop.renewed.test")
    with connected(node, "long.renewed.test", trusting(authority)) as kept, crowd.coming():
        for number in range(8):
            # Renewed under its id, or uploaded anew.
            same = {"id": newest["id"]} if number % 2 else {}
            newest = item(authority, "*.renewed.test") | same
            send(node, [newest])
            sent.append(serial(newest))
            assert shown(node, "shop.renewed.test") == sent[-1]
        kept.sendall(b"GET / HTTP/1.1\r\nHost: long.renewed.test\r\n\r\n")
        answer = http.client.HTTPResponse(kept)
        answer.begin()
        assert answer.status == 404
    assert crowd.failures == []
    assert set(crowd.seen) == set(sent)
    assert crowd.resumed > 50
    assert front_pid(node) == pid


def test_names_move_from_one_to_another(node: TestNode) -> None:
    authority = node.gateway.authority
    one, two = item(authority, "a.moves.test", "b.moves.test"), item(authority, "b.moves.test")
    send(node, [one])
    assert shown(node, "b.moves.test") == serial(one)
    send(node, [one | {"names": ["a.moves.test"]}, two])
    assert shown(node, "a.moves.test") == serial(one)
    assert shown(node, "b.moves.test") == serial(two)


def test_bad_ones_do_not_hinder_the_good_ones(node: TestNode) -> None:
    authority = node.gateway.authority
    good = item(authority, "good.test")
    other_key = private(ec.generate_private_key(ec.SECP256R1()))
    encrypted = private(ec.generate_private_key(ec.SECP256R1()), b"a password")
    weak = rsa.generate_private_key(65537, 1024)  # noqa: S505
    bad = {
        "the key is another certificate's": item(authority, "other.test") | {"key": other_key},
        "the key is encrypted": item(authority, "encrypted.test") | {"key": encrypted},
        "the key is not readable": item(authority, "key.test") | {"key": "none"},
        "the chain is not readable": item(authority, "chain.test") | {"chain": "none"},
        "HAProxy does not take it": item(authority, "weak.test", key=weak),
        "which is no hostname": item(authority, "UPPER.test"),
        "names must not be empty": item(authority, "none.test") | {"names": []},
        "all its names are another one's": item(authority, "good.test") | {"id": "f" * 32},
        "with chain and key it has more": item(authority, "long.test")
        | {"chain": str(good["chain"]) * 100, "key": good["key"]},
    }
    send(node, [*bad.values(), good])
    assert shown(node, "good.test") == serial(good)
    for one in bad.values():
        for name in one["names"]:  # type: ignore[attr-defined]
            assert shown(node, name) in (default(node), serial(good))
    said = [str(line["reason"]) for line in node.events("certificate_refused")]
    assert [reason for reason in bad if not any(reason in one for one in said)] == []
    assert "PRIVATE KEY" not in node.log()
    # Nothing was written that HAProxy would not start with, and they are not sent again and again.
    kill_front(node)
    assert shown(node, "good.test") == serial(good)
    assert len(files(node)) == 1


def test_three_hundred_at_once(node: TestNode) -> None:
    pid, key = front_pid(node), ec.generate_private_key(ec.SECP256R1())
    many = [item(node.gateway.authority, f"{number}.many.test", key=key) for number in range(300)]
    send(node, many)
    for number in range(0, 300, 13):
        assert shown(node, f"{number}.many.test") == serial(many[number])
    assert front_pid(node) == pid
    kill_front(node)
    assert shown(node, "299.many.test") == serial(many[299])
    send(node, [])
    assert shown(node, "299.many.test") == default(node)
    assert files(node) == []


def test_whoever_dies_they_stay(gateway: Gateway, folder: Path) -> None:
    with running_node(gateway, folder, "stays") as node:
        one = item(gateway.authority, "stays.test")
        send(node, [one])
        learned = len(node.events("certificates_learned"))
        kill_front(node)
        assert shown(node, "stays.test") == serial(one)
        gateway.stop()
        try:
            node.kill_agent()
            node.start()
            assert shown(node, "stays.test") == serial(one)
            node.kill_everything()
            node.start()
            assert shown(node, "stays.test") == serial(one)
            assert shown(node, "others.test") == default(node)
        finally:
            gateway.start()
        # And they are known by their digest.
        since = len(node.enrolled.reports)
        until(lambda: len(node.enrolled.reports) > since, 20, "the node finds its way back")
        assert node.events("certificates_lost") == []
        assert len(node.events("certificates_learned")) == learned


def test_what_haproxy_lost_and_what_the_disk_lost_comes_back(
    gateway: Gateway, folder: Path
) -> None:
    with running_node(gateway, folder, "mended") as node:
        one, two = item(gateway.authority, "one.test"), item(gateway.authority, "two.test")
        send(node, [one, two])
        listed = node.folder / "front" / "certificates.list"
        file = next(path for path in files(node) if path.name.startswith(str(one["id"])))
        node.admin(f"del ssl crt-list {listed} {file}; del ssl cert {file}")
        # Somebody else's transaction, left open: what is set then goes there.
        kept = next(path for path in files(node) if path != file)
        node.admin(f"set ssl cert {kept} <<\n{kept.read_text()}\n")
        assert shown(node, "one.test") == default(node)
        node.kill_agent()
        node.start()  # which compares
        assert shown(node, "one.test") == serial(one)
        assert shown(node, "two.test") == serial(two)
        assert node.events("front_certificates_repaired")
        # One that is broken is not shown to HAProxy, and is sent again.
        node.kill_everything()
        file.write_text("broken")
        node.start()
        until(lambda: shown(node, "one.test") == serial(one), what="it was sent again")
        assert shown(node, "two.test") == serial(two)


def test_a_folder_with_blanks(gateway: Gateway, folder: Path) -> None:
    blanks = folder / "with blanks [and] #more"
    blanks.mkdir()
    with running_node(gateway, blanks, "blanks") as node:
        one = item(gateway.authority, "one.test")
        send(node, [one])
        assert shown(node, "one.test") == serial(one)
        send(node, [])
        assert shown(node, "one.test") == default(node)


def desired(certificates: object) -> Json:
    return {"generation": 1, "slots": [], "certificates": certificates}


@pytest.mark.parametrize("answer", [desired(None), {"generation": 1, "slots": []}])
def test_an_answer_without_certificates_changes_nothing(answer: Json) -> None:
    assert read_desired(answer).certificates is None


def test_an_unreadable_certificate_is_a_complaint_and_the_rest_is_taken() -> None:
    good = {"id": "a" * 32, "names": ["*.a.test"], "chain": "c", "key": "k"}
    bad = [
        "none",
        good | {"id": "../../etc/passwd"},
        good | {"names": ["a.test b.test"]},
        good | {"names": ["a.*.test"]},
        good | {"names": ["*"]},
        good | {"names": ["!a.test"]},
        good | {"names": []},
        good | {"chain": None},
        good | {"key": 1},
    ]
    found = read_desired(desired({"digest": "abc", "items": [*bad, good]})).certificates
    assert found
    assert [one.names for one in found.items] == [("*.a.test",)]
    assert len(found.malformed) == len(bad)
    assert "'k'" not in repr(found)


@pytest.mark.parametrize(
    "certificates",
    [
        [],
        {"items": []},
        {"digest": "a b", "items": []},
        {"digest": "", "items": []},
        {"digest": "a"},
    ],
)
def test_a_list_that_is_none_is_refused(certificates: object) -> None:
    with pytest.raises(WireError, match=r"^certificates"):
        read_desired(desired(certificates))
