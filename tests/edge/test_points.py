"""Points of D1 databases: taken, thinned, brought back, whoever is killed meanwhile."""

import asyncio
import concurrent.futures
import contextlib
import json
import os
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.agent.settings import read_settings
from edge.agent.stores.points import NoPointError, Point, PointError, Points, object_id
from edge.paths import NodePaths
from tests.edge.bundles import ACCOUNT_ID
from tests.edge.gateway import Gateway
from tests.edge.nodes import TestNode, running_node, until
from tests.loops import run

FILL = (
    "CREATE TABLE t (n INTEGER, b BLOB); "
    "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 6000) "
    "INSERT INTO t SELECT n, randomblob(20000) FROM c"
)
CONTENT = "SELECT count(*) AS n, min(length(b)) AS least FROM t"
BEFORE, AFTER = {"n": 6000, "least": 20000}, {"n": 1, "least": 3}


@pytest.fixture(scope="module")
def node(gateway: Gateway, folder: Path) -> Iterator[TestNode]:
    with running_node(gateway, folder, SKERRY_D1_POINT_SECONDS="0") as node:
        yield node


def ask(node: TestNode, path: str, body: object = None, name: str = "db") -> tuple[int, Any]:
    """As the control plane asks."""
    sent = None if body is None else json.dumps(body).encode()
    target = f"/stores/d1/{ACCOUNT_ID}/{name}{path}"
    status, _, said = node.gateway.ask(node.enrolled, "POST", target, sent)
    return status, json.loads(said) if said else None


def query(node: TestNode, sql: str, name: str = "db") -> Any:
    said = ask(node, "/query", [{"sql": part} for part in sql.split("; ")], name)[1]
    return said["error"] if isinstance(said, dict) else said[-1]["results"]


def take(node: TestNode, name: str = "db") -> str:
    status, said = ask(node, "/points", name=name)
    assert status == 200, said
    return str(said["bookmark"])


def test_a_database_is_brought_back_and_forth(node: TestNode) -> None:
    assert query(node, "CREATE TABLE t (n INTEGER); INSERT INTO t VALUES (1)", "small") == []
    first = take(node, "small")
    assert take(node, "small") == first
    query(node, "DROP TABLE t; CREATE TABLE other (m TEXT)", "small")
    status, restored = ask(node, f"/points/{first}/restore", name="small")
    assert (status, restored["bookmark"]) == (200, first)
    assert query(node, "SELECT n FROM t", "small") == [{"n": 1}]
    assert "no such table" in query(node, "SELECT * FROM other", "small")
    assert query(node, "INSERT INTO t VALUES (2) RETURNING n", "small") == [{"n": 2}]
    assert ask(node, f"/points/{restored['previous_bookmark']}/restore", name="small")[0] == 200
    assert query(node, "SELECT * FROM other", "small") == []

    assert ask(node, f"/points/{'0' * 16}-00000000/restore", name="small")[0] == 404
    assert ask(node, "/points/..%2fx/restore", name="small")[0] == 404
    assert ask(node, f"/points/{first}/restore", name="another")[0] == 404
    assert ask(node, "/destroy", name="small")[0] == 200
    assert ask(node, f"/points/{first}/restore", name="small")[0] == 404


def test_whoever_is_killed_the_content_is_the_old_or_the_new_one(node: TestNode) -> None:
    assert query(node, FILL) == []
    point = take(node)
    query(node, "DELETE FROM t; INSERT INTO t VALUES (0, x'010203')")
    assert query(node, CONTENT) == [AFTER]

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        restoring = pool.submit(ask, node, f"/points/{point}/restore")
        _in_the_middle(node)
        node.kill_agent()
        with contextlib.suppress(Exception):
            restoring.result()
    node.start()
    assert query(node, CONTENT) in ([AFTER], [BEFORE])
    assert query(node, "PRAGMA quick_check") == [{"quick_check": "ok"}]

    query(node, "DELETE FROM t; INSERT INTO t VALUES (0, x'010203')")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        restoring = pool.submit(ask, node, f"/points/{point}/restore")
        _in_the_middle(node)
        os.kill(node.pids(f"store:d1-{ACCOUNT_ID}")[0], signal.SIGKILL)
        status, said = restoring.result()
    assert status == 200, said
    assert query(node, CONTENT) == [BEFORE]
    assert ask(node, f"/points/{said['previous_bookmark']}/restore")[0] == 200
    assert query(node, CONTENT) == [AFTER]


def _in_the_middle(node: TestNode) -> None:
    """Until the database is held: whoever writes is refused."""
    until(lambda: "locked" in query(node, "UPDATE t SET n = n WHERE n < -1"), 60, "it is held")


# --- without a store ----------------------------------------------------------------------------


def points(folder: Path, **environ: str) -> tuple[Points, sqlite3.Connection]:
    """Those of a node that was never started, and the database `db` of an account."""
    arguments = ["--dir", str(folder), "--name", "n"]
    arguments += ["--http-port", "1", "--https-port", "2", "--agent-port", "3"]
    paths = NodePaths.of(folder)
    file = (
        paths.store_data("a", "d1") / "objects" / "D1Database" / f"{object_id('D1Database', 'db')}"
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(file.with_suffix(".sqlite"), isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("CREATE TABLE IF NOT EXISTS t (b)")
    return Points(read_settings(arguments, environ), paths), database


def test_the_oldest_go(tmp_path: Path) -> None:
    kept, database = points(tmp_path, SKERRY_D1_POINTS="3", SKERRY_D1_POINTS_MIB="2")

    def take() -> Point:
        return run(kept.take("a", "db"))

    def restore(point: Point) -> None:
        run(kept.restore("a", "db", point.bookmark))

    with contextlib.closing(database):
        first = take()
        for number in range(4):
            database.execute("INSERT INTO t VALUES (?)", [number])
            last = take()
        listed = kept.all("a", "db")
        assert (len(listed), listed[-1]) == (3, last)
        assert first not in listed
        with pytest.raises(NoPointError):
            restore(first)
        # The point that is brought back stays, although the one before it makes one too many.
        database.execute("INSERT INTO t VALUES (9)")
        restore(listed[0])
        assert database.execute("SELECT count(*), max(b) FROM t").fetchone() == (2, 1)

        database.execute("INSERT INTO t VALUES (zeroblob(1500000))")
        large = take()
        assert large in kept.all("a", "db")
        assert sum(one.path.stat().st_size for one in kept.all("a", "db")) < 2 * 1024 * 1024
        database.execute("INSERT INTO t VALUES (zeroblob(1500000))")
        with pytest.raises(PointError, match="SKERRY_D1_POINTS_MIB"):
            restore(large)
        assert database.execute("SELECT count(*) FROM t").fetchone() == (4,)
    assert list((tmp_path / "points").rglob("*.part*")) == []


def test_what_changes_is_copied_by_itself(tmp_path: Path) -> None:
    kept, database = points(tmp_path, SKERRY_D1_POINT_SECONDS="0.05")

    async def run_for(seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(kept.run(), seconds)

    with contextlib.closing(database):
        for count in (1, 2):
            database.execute("INSERT INTO t VALUES (1)")
            run(run_for(1.0))
            assert len(kept.all("a", "db")) == count
