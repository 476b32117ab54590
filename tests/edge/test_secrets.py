"""A script's secrets are on the node's disk and in its processes' arguments only encrypted."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from edge.agent.cells.limits import DESCRIPTORS
from edge.agent.sealing import Seal, SealError
from edge.runtime.binary import CHECKOUT, ENVIRONMENT
from tests.edge.bundles import Bundle, Json
from tests.edge.gateway import Gateway
from tests.edge.nodes import SETTINGS, TestNode, free_ports

pytestmark = pytest.mark.edge

SECRET = "correct-horse-battery-staple"
SOURCE = "export default { fetch: (request, env) => new Response(env.PASSWORD) };"


@pytest.fixture(scope="module")
def deployed(node: TestNode) -> TestNode:
    secret: Json = {"name": "PASSWORD", "type": "secret_text", "text": SECRET}
    node.deploy("secretive", Bundle(SOURCE, bindings=[secret]))
    assert node.visit("secretive").text == SECRET
    return node


def test_no_secret_on_disk(deployed: TestNode) -> None:
    files = [path for path in deployed.folder.rglob("*") if path.is_file()]
    assert len(files) > 5
    for path in files:
        assert SECRET.encode() not in path.read_bytes(), path
    assert SECRET not in deployed.log()


def test_no_secret_in_arguments_or_environment(deployed: TestNode) -> None:
    pids = deployed.pids("")
    assert len(pids) >= 3
    for pid in pids:
        for name in ("cmdline", "environ"):
            assert SECRET.encode() not in Path(f"/proc/{pid}/{name}").read_bytes()


def test_a_cell_gets_nothing_of_the_agents_environment(deployed: TestNode) -> None:
    (pid,) = deployed.pids("cell:")
    names = {
        pair.partition(b"=")[0] for pair in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    }
    runtimes = {name.encode() for name in ENVIRONMENT}
    assert names - {b"", b"PWD"} == {b"SKERRY_NODE", b"SKERRY_ROLE"} | runtimes


def test_a_cell_cannot_dump_core_and_has_its_own_number_of_descriptors(deployed: TestNode) -> None:
    (pid,) = deployed.pids("cell:")
    limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
    (core,) = [line.split() for line in limits if line.startswith("Max core file size")]
    assert core[4] == "0"
    (files,) = [line.split() for line in limits if line.startswith("Max open files")]
    assert int(files[3]) == DESCRIPTORS


def test_what_the_node_keeps_is_nobody_elses(deployed: TestNode) -> None:
    private = ("node.key", "credential.json", "node-key.pem", "state.sqlite", "front/default.pem")
    for name in private:
        assert stat.S_IMODE((deployed.folder / name).stat().st_mode) == 0o600, name
    for name in ("", "sockets", "modules", "front", "cells"):
        assert stat.S_IMODE((deployed.folder / name).stat().st_mode) == 0o700, name
    for path in (deployed.folder / "sockets").rglob("*.sock"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_sealed_content_is_bound_to_its_place_and_key(tmp_path: Path) -> None:
    seal = Seal.of(tmp_path / "node.key")
    sealed = seal.close(b"content", "slot-1")
    assert Seal.of(tmp_path / "node.key").open(sealed, "slot-1") == b"content"
    with pytest.raises(SealError):
        seal.open(sealed, "slot-2")
    with pytest.raises(SealError):
        Seal.of(tmp_path / "other.key").open(sealed, "slot-1")


def enrol(gateway: Gateway, folder: Path, token: str) -> subprocess.CompletedProcess[str]:
    """Start an agent that is expected to give up."""
    ports = [str(port) for port in free_ports(3)]
    return subprocess.run(
        [
            *(sys.executable, "-m", "edge.agent", "--dir", str(folder), "--name", "newcomer"),
            *("--http-port", ports[0], "--https-port", ports[1], "--agent-port", ports[2]),
            *("--join", token, "--control", gateway.url, "--stop-all-on-exit"),
        ],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=60,
        env={**SETTINGS, "PATH": "/usr/sbin:/usr/bin:/bin"},
    )


def test_a_token_joins_once(gateway: Gateway, deployed: TestNode, folder: Path) -> None:
    used = deployed.arguments[1]
    done = enrol(gateway, folder / "newcomer", used)
    assert done.returncode == 1
    assert "used already" in done.stdout


def test_a_stranger_is_not_taken_for_the_control_plane(gateway: Gateway, folder: Path) -> None:
    kind, fingerprint, secret = gateway.join_token().split(".")
    other = fingerprint[::-1]
    asked = len(gateway.asked)
    done = enrol(gateway, folder / "newcomer", f"{kind}.{other}.{secret}")
    assert done.returncode == 1
    assert "is not the control plane that this join token is from" in done.stdout
    assert not any("enrolments" in request for request in gateway.asked[asked:])
    assert not (folder / "newcomer" / "credential.json").exists()
