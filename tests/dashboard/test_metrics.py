"""The metrics of a Worker: figures, and tables that need no JavaScript."""

import uuid
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from api.accounts.models import Account
from api.clock import now
from api.invocations import ingestion, metrics
from api.invocations.ingestion import COLUMNS, Batch
from api.invocations.metrics import RANGES, Scope
from api.nodes.service import Enrolment
from api.scripts import service as scripts


@pytest.fixture
def busy(
    session: Session, account: Account, make_script: Callable[..., None], node: Enrolment
) -> str:
    """A script with 100 requests of 1 to 100 ms, five of which failed, and one that ended early."""
    make_script("shop", "quiet")
    script_id = scripts.get(session, account, "shop").id
    at_us = int((now() - timedelta(minutes=2)).timestamp() * 1e6)

    def request(ms: int, outcome: str) -> tuple[object, ...]:
        values = {
            "at_us": at_us,
            "ray": "r",
            "script_id": script_id,
            "account_id": account.id,
            "version_id": "11111111-aaaa" if ms % 2 else "22222222-bbbb",
            "host": "h",
            "method": "GET",
            "path": "/",
            "status": 500 if outcome == "exception" else 200,
            "outcome": outcome,
            "duration_us": ms * 1000,
            "bytes_in": 1,
            "bytes_out": 10,
            "cold": ms == 1,
        }
        return tuple(values[name] for name in COLUMNS)

    requests = [request(ms, "exception" if ms <= 5 else "ok") for ms in range(1, 101)]
    requests.append(request(50, "canceled"))
    batch = Batch.model_validate(
        {
            "columns": COLUMNS,
            "requests": requests,
            "measures": [[at_us, script_id, "11111111-aaaa", 1234, 5_000_000]],
        }
    )
    assert ingestion.take(session, node.node.id, str(uuid.uuid4()), batch)
    session.commit()
    return script_id


@pytest.mark.usefixtures("busy")
def test_figures_and_tables(ada: TestClient) -> None:
    for span in ("hour", "day", "week", "month"):
        page = ada.get(f"/workers/shop/metrics?range={span}").text
        assert "<dd>101</dd>" in page
        assert "<dd>4.95 %</dd>" in page
        assert "<dd>1,234 ms</dd>" in page
        assert "5.0 MB" in page
        assert page.count("<tbody>") == 6
        assert '<th scope="row">500</th>' in page
        assert "4.95 %</td>" in page
        assert "edge-1" in page
    assert "<dd>0</dd>" in ada.get("/workers/quiet/metrics").text
    assert ada.get("/workers/nothing/metrics").status_code == 404
    assert ada.get("/workers/shop/metrics?range=year").status_code == 404


@pytest.mark.usefixtures("busy")
def test_sums_over_time(session: Session, account: Account) -> None:
    script = scripts.get(session, account, "shop")
    for span in RANGES.values():
        points = metrics.over_time(session, Scope([script.id]), span)
        assert len(points) == span.length // span.step
        whole = metrics.total(points.values())
        assert (whole.requests, whole.errors, whole.cold) == (101, 5, 1)
        assert (whole.cpu_ms, whole.memory_bytes, whole.bytes_out) == (1234, 5_000_000, 1010)
        assert whole.quantile_ms(0.5) == pytest.approx(50, rel=0.13)
        assert whole.quantile_ms(0.99) == pytest.approx(99, rel=0.13)
        assert metrics.by_status(session, Scope([script.id]), span) == {200: 96, 500: 5}
        assert metrics.by_status(session, Scope([script.id], "1111"), span) == {200: 47, 500: 3}
    versions = metrics.by_version(session, Scope([script.id]), RANGES["hour"])
    assert {name: sums.requests for name, sums in versions.items()} == {
        "11111111-aaaa": 50,
        "22222222-bbbb": 51,
    }


@pytest.mark.usefixtures("busy")
def test_one_version_one_node_and_a_node_with_all_its_workers(
    ada: TestClient, node: Enrolment
) -> None:
    whole = ada.get("/workers/shop/metrics").text
    assert 'href="?range=hour&amp;version=11111111"' in whole
    assert f'href="?range=hour&amp;node={node.node.id}"' in whole
    one = ada.get("/workers/shop/metrics?version=11111111").text
    assert "<dd>50</dd>" in one
    assert "Only version <code>11111111</code>" in one
    assert "version=11111111" in one.partition("Last day")[0]  # the choice stays with another time
    here = ada.get(f"/workers/shop/metrics?node={node.node.id}").text
    assert "<dd>101</dd>" in here
    assert "Only edge-1" in here
    assert "<dd>0</dd>" in ada.get(f"/workers/shop/metrics?node={'0' * 32}").text
    assert ada.get("/workers/shop/metrics?version=%25").status_code == 404
    page = ada.get(f"/nodes/{node.node.id}/metrics").text
    assert "<dd>101</dd>" in page
    assert f'href="/workers/shop/metrics?range=hour&amp;node={node.node.id}"' in page
    assert page.count("<tbody>") == 4
    assert ada.get(f"/nodes/{'0' * 32}/metrics").status_code == 404
