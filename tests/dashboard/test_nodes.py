"""Nodes: how they are, what waits for them, how strong their sandbox is."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from api.accounts.models import Account
from api.clock import now
from api.deployments import rollouts
from api.deployments.models import Rollout
from api.invocations.ingestion import count_losses
from api.nodes import service
from api.nodes.models import Node
from dashboard import nodes as words
from edge.runtime.sandbox import Level
from tests.certificates import request_certificate


@pytest.fixture
def join(session: Session) -> Callable[..., Node]:
    """Make a node that has reported just now, unless told otherwise."""

    def join(name: str, **reported: object) -> Node:
        token = service.issue_join_token(session)
        url = "https://10.0.0.7:8710"
        node = service.enrol(session, token, name, url, request_certificate()).node
        values = {
            "seen_at": now(),
            "agent_version": "0.1.0",
            "runtime_version": "1.20261101.0",
            "sandbox": "full",
            **reported,
        }
        for field, value in values.items():
            setattr(node, field, value)
        session.commit()
        return node

    return join


def _cells(page: str, name: str) -> list[str]:
    """The texts of a node's row."""
    (row,) = [found for found in re.findall(r"<tr>.*?</tr>", page, re.S) if f">{name}</a>" in found]
    cells = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S)
    return [" ".join(re.sub(r"<[^>]+>", "", cell).split()) for cell in cells]


def test_without_nodes_the_page_says_how_one_joins(ada: TestClient) -> None:
    page = ada.get("/nodes").text

    assert "No node has joined yet" in page
    assert "python -m api.admin join-token" in page


def test_a_node_that_is_well(ada: TestClient, join: Callable[..., Node]) -> None:
    join("edge-1")
    page = ada.get("/nodes").text

    assert _cells(page, "edge-1") == [
        "edge-1", "Online", "0", "Full", "0.1.0", "1.20261101.0", "just now",
    ]  # fmt: skip
    assert "notice" not in page


def test_a_node_that_is_behind_or_away_or_new(
    ada: TestClient, join: Callable[..., Node], deploy: Callable[..., str]
) -> None:
    join("behind")
    join("gone", seen_at=now() - timedelta(hours=2))
    join("joining", seen_at=None)
    deploy("shop")
    page = ada.get("/nodes").text

    assert _cells(page, "behind")[1:3] == ["Catching up", "0 behind by 1"]
    assert _cells(page, "gone")[1] == "Away"
    assert _cells(page, "gone")[-1] == "2 h ago"
    # What its row holds before its first report is a default, and no finding.
    assert _cells(page, "joining")[1:4] == ["Joining", "0 behind by 1", "Not reported yet"]
    assert "without a sandbox" not in page


@pytest.mark.parametrize(
    ("level", "warning"),
    [
        ("none", "cells run without a sandbox"),
        ("namespaces", "cells share the agent&#39;s user"),
    ],
)
def test_a_weak_sandbox_is_warned_of_and_explained(
    ada: TestClient, join: Callable[..., Node], level: str, warning: str
) -> None:
    node = join("edge-1", sandbox=level)

    for path in ("/nodes", f"/nodes/{node.id}"):
        page = ada.get(path).text
        assert warning in page
        assert f'href="/nodes/sandbox#{level}"' in page
    explained = ada.get("/nodes/sandbox").text
    assert f'id="{level}"' in explained
    assert "docs/security.md" in explained


def test_the_levels_are_those_that_nodes_report() -> None:
    assert set(words.LEVELS) == {level.value for level in Level}


def test_different_versions_are_said(ada: TestClient, join: Callable[..., Node]) -> None:
    join("edge-1")
    join("edge-2", agent_version="0.2.0")
    page = ada.get("/nodes").text

    assert "The nodes run different versions" in page
    assert "Agents: 0.1.0 on edge-1; 0.2.0 on edge-2." in page
    assert "Runtimes:" not in page


def test_one_node(ada: TestClient, join: Callable[..., Node]) -> None:
    node = join("edge-1", runtime_compatibility_date="2026-11-08")
    page = ada.get(f"/nodes/{node.id}").text

    assert "https://10.0.0.7:8710" in page
    assert "2026-11-08" in page
    assert "0 of 0" in page
    assert "It serves from its own disk" in page
    assert "is away" not in page


def test_what_a_node_lost_is_told_with_its_reason(
    ada: TestClient, session: Session, join: Callable[..., Node]
) -> None:
    node = join("edge-1")
    assert "<dt>Records lost</dt><dd>None</dd>" in ada.get(f"/nodes/{node.id}").text
    count_losses(session, node.id, {"front": 1234, "log_spool": 5, "later": 6})
    session.commit()
    page = ada.get(f"/nodes/{node.id}").text
    assert re.search(r"1,234 .*two threads of the front wanted to write at once", page)
    assert re.search(r"5 .*stored logs: the control plane was away", page)
    assert re.search(r"6 .*\(later;", page)


def test_a_node_that_is_away_says_what_goes_on_and_what_to_do(
    ada: TestClient, join: Callable[..., Node]
) -> None:
    node = join("edge 1", seen_at=now() - timedelta(hours=2))
    page = ada.get(f"/nodes/{node.id}").text

    assert "edge 1 is away" in page
    assert "its Workers go on answering" in page
    assert "python -m api.admin remove-node &#39;edge 1&#39;" in page


def _fail(session: Session, node: Node, reason: str) -> None:
    session.expire_all()
    rollout = session.scalars(select(Rollout).where(Rollout.target_id == node.id)).one()
    rollouts.record(
        node.id, [rollouts.SlotReport(rollout.script_id, rollout.generation, "failed", reason)]
    )


def test_what_waits_or_failed_stands_on_the_nodes_page(
    ada: TestClient,
    session: Session,
    join: Callable[..., Node],
    deploy: Callable[..., str],
) -> None:
    node = join("edge-1")
    deploy("broken")
    _fail(session, node, "<b>it threw</b>")
    deploy("waits")
    page = ada.get(f"/nodes/{node.id}").text

    assert 'href="/workers/broken"' in page
    assert "&lt;b&gt;it threw&lt;/b&gt;" in page
    assert "Failed</span>" in page
    assert 'href="/workers/waits"' in page
    assert "Waiting</span>" in page

    # A newer deployment takes the failed one's place, and a deleted Worker has no page to lead to.
    deploy("broken", answer="better")
    ada.post("/workers/waits/delete", data={"typed_name": "waits"})
    page = ada.get(f"/nodes/{node.id}").text
    assert "it threw" not in page
    assert 'href="/workers/waits"' not in page
    assert "Withdrawal: waiting" in page


def test_other_accounts_scripts_are_not_shown(
    ada: TestClient, session: Session, join: Callable[..., Node], deploy: Callable[..., str]
) -> None:
    node = join("edge-1")
    deploy("secret-plans")
    mallory = Account(name="mallory", subdomain="mallory")
    session.add(mallory)
    session.flush()
    rollout = session.scalars(select(Rollout)).one()
    rollout.script.account = mallory
    session.commit()
    page = ada.get(f"/nodes/{node.id}").text

    assert "secret-plans" not in page
    assert "Nothing" in page


@pytest.mark.parametrize("path", ["/nodes/none", f"/nodes/{'0' * 32}", "/nodes/%00"])
def test_a_node_that_is_not_there(ada: TestClient, path: str) -> None:
    assert ada.get(path).status_code == 404


@pytest.mark.parametrize("path", ["/nodes", "/nodes/sandbox", f"/nodes/{'0' * 32}"])
def test_nodes_are_for_members(visitor: TestClient, setup_token: str, path: str) -> None:
    assert visitor.get(path).headers["location"].startswith("/login")
