"""`./skerry soak`: load on every template of the gallery while things are deployed and killed, and what came of it.

It ends by itself; its exit status is 1 when a request failed that had no reason to, or when a record of a request is
lost or doubled without one. docs/operating.md says which kills are a reason for what.
"""

import random
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, LiteralString

import psycopg

from edge.paths import NodePaths
from launcher import postgres, temporary
from launcher.errors import LauncherError
from launcher.programs import Instance, external_database
from launcher.progress import say, step
from launcher.soak import verdict
from launcher.soak.killing import Killer
from launcher.soak.load import Load
from launcher.soak.slopes import Watch
from launcher.soak.workers import Workers
from launcher.visiting import visit_once

NODE = "edge-1"
DEPLOY_SECONDS = 10.0
# In a minute each kind of process once.
KILL_SECONDS = 4.0
SAMPLE_SECONDS = 2.0
# No kill in the last seconds: what is killed must be able to come back.
QUIET_SECONDS = 15.0
SETTLE_SECONDS = 120.0
_RAYS: LiteralString = "SELECT ray FROM invocations"
# Of request records: what stored logs lost is counted beside.
_LOSSES: LiteralString = "SELECT coalesce(sum(records), 0) FROM losses WHERE reason IN ('front', 'agent', 'unreadable', 'spool', 'disk')"


def run(minutes: float, seed: int | None) -> int:
    """The exit status."""
    if external_database() is not None:
        raise LauncherError("This kills a database: unset DATABASE_URL and REDIS_URL first.")
    chosen = random.randrange(1_000_000) if seed is None else seed
    say(f"Seed {chosen}: ./skerry soak --minutes {minutes:g} --seed {chosen}")
    with (
        tempfile.TemporaryDirectory(prefix="skerry-soak-") as folder,
        temporary.instance(Path(folder).resolve() / "data") as instance,
    ):
        return _soak(instance, minutes * 60, chosen)


def _soak(instance: Instance, seconds: float, seed: int) -> int:
    workers = Workers(instance)
    with step("a Worker of each template"):
        workers.make()
    for name, reason in workers.left_out.items():
        say(f"  Left out: {name}, {reason}.")
    port = instance.config.ports[f"{NODE}.http"]
    for one in workers.deployed:
        _wait_for(port, one.host)
    say(f"{len(workers.deployed)} Workers. Load for {seconds:.0f} s.")
    killer, watch = Killer(instance, NODE, seed), Watch(instance, NODE)
    began = time.monotonic()
    with Load(NODE, port, workers.deployed) as load:
        _disturb(workers, killer, watch, began + seconds)
    workers.close()
    growth = watch.growth()
    with step("waiting for the last records"):
        rays = _recorded(instance, {one.visit.ray for one in load.asked if one.visit.ray})
        counted = int(_asked(instance, _LOSSES)[0][0])
    found = verdict.judge(load.asked, killer.kills, rays, counted)
    for line in verdict.lines(found, killer.kills, workers.deploys, began):
        say(line)
    for line in verdict.growth_lines(growth):
        say(line)
    return 0 if found.good else 1


def _disturb(workers: Workers, killer: Killer, watch: Watch, until: float) -> None:
    """Deploy, kill and look, each at its own pace, until the time is over."""
    deploy_at = sample_at = time.monotonic()
    kill_at = deploy_at + KILL_SECONDS
    # Beside the rest: a deploy waits for what was killed, and kills must not wait for it.
    deploying = threading.Thread(target=workers.redeploy)
    while (moment := time.monotonic()) < until:
        if moment >= sample_at:
            watch.sample()
            sample_at = moment + SAMPLE_SECONDS
        if moment >= kill_at and moment < until - QUIET_SECONDS:
            if kill := killer.strike():
                say(f"  killed {kill.what}")
            kill_at = moment + KILL_SECONDS
        if moment >= deploy_at and moment < until - QUIET_SECONDS and not deploying.is_alive():
            deploying = threading.Thread(target=workers.redeploy)
            deploying.start()
            deploy_at = moment + DEPLOY_SECONDS
        time.sleep(0.1)
    if deploying.ident:
        deploying.join()


def _wait_for(port: int, host: str) -> None:
    deadline = time.monotonic() + SETTLE_SECONDS
    while (seen := visit_once(NODE, port, host)).status in (0, 404, 503):
        if seen.status == 404 and "nothing here" not in seen.text:
            return  # its own answer
        if time.monotonic() > deadline:
            raise LauncherError(f"{host} did not answer: {seen.status} {seen.text[:200]}")
        time.sleep(0.2)


def _recorded(instance: Instance, wanted: set[str]) -> list[str]:
    """The Ray ids of the records of these requests, once no more come."""
    deadline, before, still = time.monotonic() + SETTLE_SECONDS, -1, 0
    rays: list[str] = []
    while time.monotonic() < deadline and still < 3:
        time.sleep(3)
        try:
            rays = [ray for (ray,) in _asked(instance, _RAYS) if ray in wanted]
        except psycopg.OperationalError:
            continue
        if wanted <= set(rays):
            break
        # What waits on the node's disk, for a control plane that starts again, is not lost.
        waits = any(NodePaths.of(instance.data.node(NODE)).spool.glob("*.json.gz"))
        still = 0 if waits or len(rays) != before else still + 1
        before = len(rays)
    return rays


def _asked(instance: Instance, query: LiteralString) -> list[tuple[Any, ...]]:
    url = postgres.url(instance.config.ports["postgres"], instance.config.password("postgres"))
    plain = url.replace("postgresql+psycopg", "postgresql")
    with psycopg.connect(plain, connect_timeout=10) as database:
        return database.execute(query).fetchall()
