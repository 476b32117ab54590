"""What a node's disk has is carried into a bucket, whole, and stays on the disk."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.runtime.binary import CHECKOUT
from tests.edge.bundles import ACCOUNT_ID
from tests.edge.gateway import Gateway
from tests.edge.nodes import TestNode, running_node
from tests.edge.test_bucket import BUCKET, MIB, Cloud, filled, joined, run, running_cloud, script

pytestmark = pytest.mark.edge

ODD = """
CREATE TABLE parent (id INTEGER PRIMARY KEY AUTOINCREMENT, "na me" TEXT, twice INTEGER AS (id * 2));
CREATE TABLE child (parent INTEGER REFERENCES parent (id), what, PRIMARY KEY (parent, what)) WITHOUT ROWID;
CREATE INDEX names ON parent ("na me");
CREATE VIEW all_of_them AS SELECT * FROM parent JOIN child ON parent = id;
INSERT INTO parent (id, "na me") VALUES (9007199254740993, 'o''clock'), (2, 'line' || char(10)), (3, NULL);
CREATE TABLE tree (id INTEGER PRIMARY KEY, up INTEGER NOT NULL REFERENCES tree (id));
INSERT INTO tree VALUES (1, 2), (2, 1);
INSERT INTO child VALUES (2, x'00ff'), (2, 1.5e300), (3, printf('%.*c', 100000, 'x')), (3, '');
"""
LOOK = (
    'SELECT CAST(id AS TEXT) AS id, "na me", CAST(twice AS TEXT) AS twice FROM parent ORDER BY id',
    "SELECT parent, typeof(what) AS type, length(what) AS length, hex(substr(what, 1, 20)) AS hex "
    "FROM child ORDER BY 1, 2, 3",
    "SELECT name, type FROM sqlite_schema WHERE name NOT GLOB 'sqlite_*' AND name NOT GLOB '_cf_*' ORDER BY 1",
    "SELECT count(*) AS n FROM all_of_them",
)


@pytest.fixture(scope="module")
def cloud(folder: Path) -> Iterator[Cloud]:
    with running_cloud(folder) as cloud:
        yield cloud


def carry(node: TestNode, settings: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "edge.agent", "move", "--dir", str(node.folder)],
        cwd=CHECKOUT,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_all_that_was_written_is_in_the_bucket(
    gateway: Gateway, folder: Path, cloud: Cloud
) -> None:
    with running_node(gateway, folder) as node:
        assert node.deploy("app", script())["state"] == "live"
        run(node, "put", key="small", value="hello")
        run(node, "large", size=10 * MIB)
        for statement in ODD.strip().split(";\n"):
            run(node, "sql", sql=statement.rstrip(";"))
        before = [run(node, "sql", sql=one) for one in LOOK]
        run(node, "store", key="file", size=10 * MIB)
        run(node, "send", body="waits")
        running = carry(node, cloud.settings())
        assert (running.returncode, "An agent runs on" in running.stdout) == (1, True)
        node.stop()

        # The bucket cannot be reached: nothing is marked as done.
        wrong = carry(node, {**cloud.settings(), "SKERRY_BUCKET_ENDPOINT": "http://127.0.0.1:1"})
        assert wrong.returncode == 1
        assert "The bucket cannot be used" in wrong.stdout
        done = carry(node, cloud.settings())
        assert done.returncode == 0, done.stdout
        assert f"kv of {ACCOUNT_ID}: 1 objects" in done.stdout
        again = carry(node, cloud.settings())
        assert f"d1 of {ACCOUNT_ID}: was carried over before, into {BUCKET}." in again.stdout
        assert "There was nothing to carry over." in again.stdout
        # Interrupted before it was noted: what is there is counted, and not written again.
        marker = node.folder / "stores" / ACCOUNT_ID / "d1" / "moved"
        noted = json.loads(marker.read_text())
        marker.unlink()
        assert carry(node, cloud.settings()).returncode == 0
        assert json.loads(marker.read_text())["rows"] == noted["rows"] >= 7

        node.configure(**cloud.settings())
        node.start()
        assert run(node, "get", key="small") == "hello"
        assert run(node, "largeHash") == filled(10 * MIB)
        assert [run(node, "sql", sql=one) for one in LOOK] == before
        assert run(node, "whole", key="file") == filled(10 * MIB)
        path = f"/stores/queues/{ACCOUNT_ID}/jobs/peek"
        peeked = gateway.ask(node.enrolled, "POST", path, b"{}")[2]
        assert len(json.loads(peeked)["messages"]) == 1
        run(node, "put", key="small", value="newer")
        node.stop()
        # A second time would bring back what is old: the bucket has other rows.
        marker.unlink()
        with running_node(gateway, folder, "edge-2", **cloud.settings()) as other:
            assert joined(other, node, BUCKET)["state"] == "live"
            run(other, "sql", sql="DELETE FROM child")
            other.stop()
        refused = carry(node, cloud.settings())
        assert refused.returncode == 1
        assert "the bucket has other rows" in refused.stdout
        # Without the bucket the old data is not served as if it were the newest.
        node.configure(SKERRY_BUCKET="")
        node.start()
        answer = node.visit("app", "/", "POST", b'{"test": "get", "key": "small"}')
        assert answer.status == 418
        assert "SKERRY_BUCKET is not set on this node any more" in node.log()
