"""What a node tells Prometheus, read by its own parser and compared with requests that were made."""

import http.client
import json
import os
import ssl
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.edge.bundles import Bundle
from tests.edge.gateway import Gateway
from tests.edge.nodes import TestNode, until

pytestmark = pytest.mark.edge

SCRIPT = """
export default { fetch(request) {
  if (new URL(request.url).pathname === "/throw") throw new Error("boom");
  return new Response("hello");
} };
"""


def _asked(node: TestNode, authorization: str) -> tuple[int, str]:
    """As Prometheus would: with the CA that the node wrote down, by the name in its certificate."""
    credential = json.loads((node.folder / "credential.json").read_text())
    trust = ssl.create_default_context(cafile=node.folder / "metrics-ca.pem")
    host, _, port = node.enrolled.agent_url.removeprefix("https://").partition(":")
    connection = http.client.HTTPSConnection(host, int(port), timeout=20)
    connection.connect = lambda: None  # type: ignore[method-assign]
    raw = http.client.HTTPConnection(host, int(port), timeout=20)
    raw.connect()
    connection.sock = trust.wrap_socket(
        raw.sock, server_hostname=f"{credential['node_id']}.node.skerry"
    )
    connection.request("GET", "/metrics", headers={"Authorization": authorization})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def _samples(node: TestNode) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    token = (node.folder / "metrics.token").read_text()
    status, text = _asked(node, f"Bearer {token}")
    assert status == 200, text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def _value(node: TestNode, name: str, **labels: str) -> float:
    return _samples(node).get((name, frozenset(labels.items())), 0)


def test_figures_are_those_of_the_requests(node: TestNode) -> None:
    node.deploy("counted", Bundle(SCRIPT))
    for _ in range(7):
        assert node.visit("counted").status == 200
    for _ in range(2):
        assert node.visit("counted", "/throw").status == 500

    def counted() -> bool:
        return (
            _value(node, "skerry_edge_request_duration_seconds_count", script="counted") == 9
            and _value(node, "skerry_edge_memory_bytes", script="counted") > 1_000_000
        )

    until(counted, 20, "every request is counted, and a sample of memory was taken")
    found = _samples(node)
    requests = {
        dict(labels)["outcome"]: value
        for (name, labels), value in found.items()
        if name == "skerry_edge_requests_total" and ("script", "counted") in labels
    }
    assert requests == {"ok": 7, "exception": 2}
    buckets = [
        value
        for (name, labels), value in found.items()
        if name == "skerry_edge_request_duration_seconds_bucket"
    ]
    assert max(buckets) == 9
    assert _value(node, "skerry_edge_response_bytes_total", script="counted") > 9 * len("hello")
    assert _value(node, "skerry_edge_cells", script="counted", state="serving") == 1
    assert _value(node, "skerry_edge_scripts", state="live") == 1
    assert (
        0
        < _value(node, "skerry_edge_disk_free_bytes")
        < _value(node, "skerry_edge_disk_total_bytes")
    )
    ends = _value(node, "skerry_edge_certificate_end_timestamp_seconds", certificate="agent")
    assert ends > 1_700_000_000


def test_only_its_own_key_opens_it(node: TestNode, gateway: Gateway) -> None:
    token_file: Path = node.folder / "metrics.token"
    token = token_file.read_text()
    assert os.stat(token_file).st_mode & 0o077 == 0
    for wrong in ("", "Bearer ", f"Bearer {token}x", f"Bearer {node.enrolled.push_key}"):
        assert _asked(node, wrong)[0] == 401
    # And it opens nothing else.
    key, node.enrolled.push_key = node.enrolled.push_key, token
    try:
        assert gateway.call(node.enrolled, "GET", "/status")[0] == 401
    finally:
        node.enrolled.push_key = key


def test_the_control_plane_hears_how_the_node_is(node: TestNode) -> None:
    until(lambda: node.enrolled.reports, 20, "a report")
    condition = node.enrolled.reports[-1]["condition"]
    assert isinstance(condition, dict)
    assert condition["disk_total_bytes"] > condition["disk_free_bytes"] > 0
    assert {one["name"] for one in condition["certificates"]} == {"agent", "front"}
