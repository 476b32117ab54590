"""Request records while the control plane is killed: every request is counted, and counted once."""

import time
from typing import LiteralString

import pytest
from psycopg.rows import DictRow

from tests.edge.nodes import until
from tests.faults.instance import SECONDS, Instance, kill
from tests.faults.visitors import Visitors

pytestmark = [pytest.mark.platform, pytest.mark.xdist_group("records")]

# One visitor a node, who comes some twenty times a second.
PAUSE_SECONDS = 0.05
# So many requests after each kill, before the next one.
BETWEEN = 40


def test_every_request_is_counted_once_whoever_is_killed(instance: Instance) -> None:
    with Visitors(instance.ports, instance.hostname, pause_seconds=PAUSE_SECONDS) as visitors:
        for name in ("control", "postgres", "control", "valkey", "postgres"):
            kill(instance.process(name))
            seen = len(visitors.visits)
            until(
                lambda seen=seen: len(visitors.visits) > seen + BETWEEN,  # type: ignore[misc]
                SECONDS,
                "visitors go on",
            )
        instance.settles()
    visits = len(visitors.visits)
    assert {one.status for one in visitors.visits} == {200}
    until(lambda: _counted(instance) >= visits, SECONDS, "every request arrived")
    time.sleep(2)  # what would be counted twice comes with the next batch
    assert _counted(instance) == visits
    rows = _row(instance, "SELECT count(*) AS all, count(DISTINCT ray) AS rays FROM invocations")
    assert rows == {"all": visits, "rays": visits}
    assert instance.asked("SELECT reason, records FROM losses") == []


def _counted(instance: Instance) -> int:
    return int(_row(instance, "SELECT coalesce(sum(requests), 0) AS sum FROM rollups")["sum"])


def _row(instance: Instance, query: LiteralString) -> DictRow:
    (row,) = instance.asked(query)
    return row
