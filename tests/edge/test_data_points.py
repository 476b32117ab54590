"""Data points of Analytics Engine: from `writeDataPoint` through the cell's output into a batch."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.edge.bundles import ACCOUNT_ID, Bundle
from tests.edge.gateway import Gateway
from tests.edge.nodes import TestNode, running_node, until

SCRIPT = """
const wrong = [
  { blobs: Array(21).fill("x") },
  { doubles: Array(21).fill(1) },
  { indexes: ["x".repeat(97)] },
  { indexes: ["a", "b"] },
  { blobs: ["x".repeat(17_000)] },
];
export default {
  async fetch(request, env) {
    const { pathname } = new URL(request.url);
    if (pathname === "/wrong") for (const point of wrong) env.VISITS.writeDataPoint(point);
    if (pathname === "/forged") console.log(`skerry-point ["x"]`, `skerry-point [1,"d","",[],[]]`);
    const bytes = new TextEncoder().encode("bytes ä");
    env.VISITS.writeDataPoint({ blobs: [pathname, null, bytes, "a\\u0000b"], doubles: [1.5, NaN, -2], indexes: ["i"] });
    env.OTHER.writeDataPoint({});
    return new Response("written");
  },
};
"""


@pytest.fixture(scope="module")
def node(gateway: Gateway, folder: Path) -> Iterator[TestNode]:
    with running_node(gateway, folder) as node:
        names = {"VISITS": "visits", "OTHER": "others"}
        bindings: list[dict[str, object]] = [
            {"name": name, "type": "analytics_engine", "dataset": dataset}
            for name, dataset in names.items()
        ]
        assert node.deploy("one", Bundle(SCRIPT, bindings=bindings))["state"] == "live"
        yield node


def points(node: TestNode, path: str) -> list[list[object]]:
    """What was shipped of a visit there, and every point of the other dataset."""
    batches = list(node.enrolled.batches.values())
    found: list[list[object]] = [one for batch in batches for one in batch["points"]]  # type: ignore[attr-defined]
    return [one for one in found if one[5] and one[5][0] == path]  # type: ignore[index]


def test_a_point_is_shipped_as_it_was_written(node: TestNode) -> None:
    assert node.visit("one", "/plain").text == "written"
    until(lambda: points(node, "/plain"), 15, "the point is shipped")
    ((at, account, script, dataset, index, blobs, doubles),) = points(node, "/plain")
    assert (account, dataset, index) == (ACCOUNT_ID, "visits", "i")
    assert isinstance(at, int)
    assert len(str(at)) == 16
    assert len(str(script)) == 32
    assert blobs == ["/plain", "", "bytes ä", "a�b"]
    assert doubles == [1.5, 0, -2]
    batches = list(node.enrolled.batches.values())
    others = [one for batch in batches for one in batch["points"] if one[3] == "others"]  # type: ignore[attr-defined]
    assert [one[4:] for one in others] == [["", [], []]]
    # They are no lines of the script's.
    assert not [line for line in node.events("log_line") if "skerry-point" in str(line)]


def test_what_breaks_cloudflares_limits_is_not_stored(node: TestNode) -> None:
    assert node.visit("one", "/wrong").text == "written"
    until(lambda: points(node, "/wrong"), 15, "the good one is shipped")
    written = [one for batch in node.enrolled.batches.values() for one in batch["points"]]  # type: ignore[attr-defined]
    assert not [one for one in written if str(one[5]).startswith("['x")]


def test_a_line_that_only_looks_like_a_point_harms_nobody(node: TestNode) -> None:
    assert node.visit("one", "/forged").text == "written"
    until(lambda: points(node, "/forged"), 15, "the true one is shipped")


def test_points_wait_while_there_is_no_agent(node: TestNode) -> None:
    node.kill_agent()
    for number in range(50):
        assert node.visit("one", f"/away/{number}").text == "written"
    node.start()
    until(lambda: all(len(points(node, f"/away/{one}")) == 1 for one in range(50)), 20, "all come")
