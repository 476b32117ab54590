"""The control plane, Postgres and Valkey are all gone: visitors do not notice, and a node may even start then.

Or Postgres stands still, as a machine that swaps makes it: pages and API say so soon.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from edge.paths import NodePaths
from edge.proc import Identity
from launcher import processes
from launcher.visiting import visit_once
from tests.dashboard.conftest import PASSWORD
from tests.edge.nodes import until
from tests.faults.instance import (
    FIRST,
    SCRIPT,
    SECONDS,
    Instance,
    Node,
    kill,
    stopped,
    with_children,
)
from tests.faults.visitors import Visitors
from tests.platform import ROOT

pytestmark = [pytest.mark.platform, pytest.mark.xdist_group("outage")]

CONTROL_PLANE = ("control", "worker", "beat", "postgres", "valkey")
OUTAGE_SECONDS = 60

# Eight visitors a node who keep their connections: some hundred requests a second on two cores.
VISITORS, PAUSE_SECONDS = 8, 0.03
# So few would be no load; a machine that is busy otherwise makes a tenth of what a free one does.
VISITS_MIN = 20 * OUTAGE_SECONDS
# Three seconds are promised; a busy machine takes longer to render too.
ANSWER_SECONDS = 5


@contextmanager
def control_plane_gone(instance: Instance) -> Iterator[None]:
    """All of it is killed, and nobody starts it again: the supervisor stands still meanwhile."""
    with stopped(instance.supervisor()):
        for name in CONTROL_PLANE:
            kill(instance.process(name))
        until(lambda: not instance.strays(), SECONDS, "their children have ended too")
        yield


def test_a_minute_without_control_plane_under_load(instance: Instance) -> None:
    with Visitors(
        instance.ports,
        instance.hostname,
        each=VISITORS,
        pause_seconds=PAUSE_SECONDS,
        keep_alive=True,
    ) as visitors:
        with control_plane_gone(instance):
            began = time.monotonic()
            time.sleep(OUTAGE_SECONDS)  # the outage itself; there is nothing to wait for
            during = visitors.since(began)
        instance.settles()
        instance.deploy("after the outage")
        instance.settles()
    for node in instance.ports:
        assert sum(one.node == node for one in during) > VISITS_MIN
    said = {(one.status, one.text) for one in visitors.visits}
    assert said == {(200, FIRST), (200, "after the outage")}


def test_a_node_that_is_rebooted_meanwhile_serves_from_its_disk(instance: Instance) -> None:
    instance.deploy("before the reboot")
    instance.settles()
    node = instance.nodes[1]
    agent = instance.process(f"{node.name}-agent")
    command, environment = processes.command_line(agent.pid), environment_of(agent)
    with control_plane_gone(instance):
        kill(agent)
        lose_power(node)
        assert visit_once(node.name, node.http_port, instance.hostname).status == 0
        with subprocess.Popen(command, env=environment, cwd=ROOT) as started:
            until(lambda: serves(instance, node, "before the reboot"), SECONDS, "the node serves")
            # The supervisor will start its own.
            started.send_signal(signal.SIGTERM)
            assert started.wait(SECONDS) == 0
        assert serves(instance, node, "before the reboot")
    instance.settles()
    instance.deploy("after the reboot")
    instance.settles()
    assert serves(instance, node, "after the reboot")


def environment_of(process: Identity) -> dict[str, str]:
    lines = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
    return dict(os.fsdecode(line).split("=", 1) for line in lines if line)


def lose_power(node: Node) -> None:
    """Everything ends at once, and /tmp is empty afterwards."""
    for process in node.processes(""):
        processes.send(process, signal.SIGKILL)
    until(lambda: not node.processes(""), SECONDS, "everything is dead")
    shutil.rmtree(NodePaths.of(node.folder).doors, ignore_errors=True)


def serves(instance: Instance, node: Node, text: str) -> bool:
    one = visit_once(node.name, node.http_port, instance.hostname)
    return (one.status, one.text) == (200, text)


@pytest.fixture
def ada(instance: Instance) -> Iterator[httpx2.Client]:
    """The administrator's browser."""
    client = httpx2.Client(
        base_url=instance.platform.url,
        headers={"sec-fetch-site": "same-origin"},
        trust_env=False,
        timeout=30,
    )
    with client:
        (token,) = parse_qs(urlsplit(instance.platform.setup_url).query)["token"]
        form = {"token": token, "email": "ada@example.org", "password": PASSWORD}
        assert client.post("/setup", data=form).status_code == 303
        yield client


def timed(ask: httpx2.Client, method: str, path: str, **arguments: object) -> httpx2.Response:
    began = time.monotonic()
    answer = ask.request(method, path, **arguments)  # type: ignore[arg-type]
    assert time.monotonic() - began < ANSWER_SECONDS, path
    return answer


def test_everybody_is_told_soon_and_all_works_again(instance: Instance, ada: httpx2.Client) -> None:
    scripts = f"/client/v4/accounts/{instance.platform.api.id}/workers/scripts"
    token = {"Authorization": f"Bearer {instance.platform.api.token}"}
    settings = f"/workers/{SCRIPT}/settings"
    # Connections that are kept are the ones that would be waited for.
    assert ada.get("/workers").status_code == 200
    with stopped(*with_children(instance.process("postgres"))):
        for path in ("/workers", f"/workers/{SCRIPT}", "/nodes", "/workers"):
            page = timed(ada, "GET", path)
            assert page.status_code == 503
            assert "The database does not answer" in page.text
        assert timed(ada, "GET", "/health").status_code == 503
        refused = timed(ada, "GET", scripts, headers=token)
        assert (refused.status_code, refused.json()["errors"][0]["code"]) == (503, 10500)
        kept = timed(ada, "POST", settings, data={"idle_seconds": "60", "max_cells": "2"})
        assert kept.status_code == 503
        node = instance.nodes[0]
        assert visit_once(node.name, node.http_port, instance.hostname).status == 200
    until(lambda: ada.get("/workers").status_code == 200, SECONDS, "pages are back")
    sealed = kept.text.partition('name="kept" value="')[2].partition('"')[0]
    sent = ada.post("/resend", data={"kept": sealed})
    assert sent.headers["location"] == settings
    instance.settles()
