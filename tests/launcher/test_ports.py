import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from launcher import ports
from launcher.config import Config
from launcher.errors import LauncherError, PortTakenError
from launcher.paths import ROOT
from launcher.ports import Wish


@contextmanager
def taken(port: int) -> Iterator[None]:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()
        yield


def test_a_free_default_is_taken_silently(free_port: int) -> None:
    assert ports.choose([Wish("control", "the dashboard", free_port)], {}) == (
        {"control": free_port},
        [],
    )


def test_a_taken_default_moves_to_the_next_free_port_and_says_so(free_port: int) -> None:
    with taken(free_port):
        chosen, notes = ports.choose([Wish("control", "the dashboard", free_port)], {})
    assert chosen["control"] > free_port
    assert notes == [f"Port {free_port} is taken: the dashboard is on {chosen['control']}."]


def test_a_taken_port_given_by_flag_is_refused_in_one_sentence(free_port: int) -> None:
    wish = Wish("control", "the dashboard", 8700, "--port", demanded=free_port)
    with taken(free_port), pytest.raises(PortTakenError) as refused:
        ports.choose([wish], {})
    assert (
        str(refused.value)
        == f"Port {free_port} (--port) is taken by another program: choose another one."
    )


def test_a_flag_overrides_what_is_remembered(free_port: int) -> None:
    wish = Wish("control", "the dashboard", 8700, "--port", demanded=free_port)
    assert ports.choose([wish], {"control": 8700}) == ({"control": free_port}, [])


def test_a_remembered_port_comes_before_the_default(free_port: int) -> None:
    assert ports.choose([Wish("control", "the dashboard", 8700)], {"control": free_port})[0] == {
        "control": free_port
    }


def test_zero_asks_for_any_free_port() -> None:
    chosen, notes = ports.choose([Wish("control", "the dashboard", 8700, "--port", demanded=0)], {})
    assert chosen["control"] in ports.INTERNAL_PORTS
    assert notes == []


def test_a_port_that_another_instance_is_about_to_open_is_not_chosen(free_port: int) -> None:
    wish = Wish("control", "the dashboard", free_port)
    reserved = ports.Reservations()
    assert reserved.add([free_port])
    assert not ports.Reservations().add([free_port])
    assert ports.choose([wish], {})[0]["control"] > free_port
    reserved.release()
    assert ports.choose([wish], {})[0] == {"control": free_port}


def test_two_purposes_never_share_a_port(free_port: int) -> None:
    chosen, _ = ports.choose([Wish("a", "a", free_port), Wish("b", "b", free_port)], {})
    assert chosen["a"] == free_port
    assert chosen["b"] != free_port


def test_the_same_port_in_two_flags_is_refused(free_port: int) -> None:
    wishes = [Wish("a", "a", 1, "--port", free_port), Wish("b", "b", 2, "--http-port", free_port)]
    with pytest.raises(PortTakenError, match="--http-port"):
        ports.choose(wishes, {})


def test_an_address_that_is_not_ours_is_explained(free_port: int) -> None:
    with pytest.raises(LauncherError, match=r"Cannot listen on 192\.0\.2\.1"):
        ports.obstacle(free_port, "192.0.2.1")


def test_every_node_gets_three_ports_and_the_flags_go_to_the_first() -> None:
    wishes = {wish.name: wish for wish in ports.wishes(Config(nodes=2), http=9001, https=9002)}
    assert wishes["edge-1.http"].demanded == 9001
    assert wishes["edge-2.http"].demanded is None
    assert wishes["edge-2.https"].default == ports.DEFAULT_HTTPS + 1
    assert {"edge-1.agent", "edge-2.agent", "gateway", "postgres", "valkey"} <= wishes.keys()


def test_visitors_ports_are_for_whoever_asks_for_none() -> None:
    plain = {wish.name: wish.best for wish in ports.wishes(Config(nodes=2))}
    assert {name: best for name, best in plain.items() if best} == {
        "edge-1.http": 80,
        "edge-1.https": 443,
    }
    for flags in ({"control": 0}, {"control": 8701}, {"http": 8081}, {"https": 0}):
        assert [wish.best for wish in ports.wishes(Config(), **flags) if wish.best] == []


def test_the_best_port_comes_before_the_default_and_after_what_is_remembered(
    free_port: int,
) -> None:
    wish = Wish("edge-1.http", "edge-1's HTTP", 8080, best=free_port)
    assert ports.choose([wish], {}) == ({"edge-1.http": free_port}, [])
    remembered = {"edge-1.http": free_port}
    assert ports.choose([replace(wish, best=80)], remembered) == (remembered, [])


def test_a_port_of_root_gives_way_to_the_default_and_says_so(
    monkeypatch: pytest.MonkeyPatch, free_port: int
) -> None:
    probe = ports.obstacle
    monkeypatch.setattr(
        ports, "obstacle", lambda port, bind: ports.FORBIDDEN if port == 80 else probe(port, bind)
    )
    wish = Wish("edge-1.http", "edge-1's HTTP", free_port, best=80)
    note = f"Port 80 is for root to open: edge-1's HTTP is on {free_port}."
    assert ports.choose([wish], {}) == ({"edge-1.http": free_port}, [note])
    # One that root started once and that somebody else starts now.
    assert ports.choose([wish], {"edge-1.http": 80}) == ({"edge-1.http": free_port}, [note])
    with pytest.raises(
        PortTakenError, match=r"^Port 80 \(--http-port\) is for root to open: choose"
    ):
        ports.choose([replace(wish, flag="--http-port", demanded=80)], {})


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_what_root_may_open_others_may_not() -> None:
    """The kernel's own answer, to a process that gave up its rights."""
    asked = "import os; from launcher import ports; os.setuid(65534); print(ports.obstacle(1))"
    told = subprocess.run(
        [sys.executable, "-c", asked], cwd=ROOT, capture_output=True, text=True, check=True
    )
    limit = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    assert told.stdout.strip() == (ports.FORBIDDEN if limit > 1 else "")


def test_replaced_servers_need_no_port() -> None:
    names = {wish.name for wish in ports.wishes(Config(), embedded=[])}
    assert not names & {"postgres", "valkey"}


def test_any_free_port_is_meant_for_those_without_a_flag_too() -> None:
    found = ports.wishes(Config(nodes=2), control=0, http=0, https=0)
    chosen, notes = ports.choose(found, {})
    defaults = {
        ports.DEFAULT_CONTROL,
        ports.DEFAULT_GATEWAY,
        ports.DEFAULT_AGENT,
        ports.DEFAULT_HTTP,
    }
    assert not defaults & set(chosen.values())
    assert set(chosen.values()) <= set(ports.INTERNAL_PORTS)
    assert notes == []
