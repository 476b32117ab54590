"""Requests of a busy script are added up on the node: nothing that is counted is lost."""

import itertools
import random
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from edge.agent.cells.cell import Cell
from edge.agent.records.attribution import Outcome, Record
from edge.agent.records.sums import MINUTE_US, Sums, Thinning, counts_up_to, rounded
from edge.agent.records.totals import Totals
from tests.edge.bundles import Bundle, answering, host_of, script_id_of
from tests.edge.gateway import Gateway
from tests.edge.nodes import running_node, until
from tests.edge.visitors import wrk

pytestmark = pytest.mark.edge

LIMIT = 50
MOMENT_US = 1_790_000_000_000_000 // MINUTE_US * MINUTE_US
STARTED = range(MOMENT_US + 900_000, MOMENT_US + 950_000)
PAGES = """
export default { fetch(request) {
  if (new URL(request.url).pathname === "/throw") throw new Error("boom");
  return new Response("hello");
} };
"""


def _settings(limit: int) -> dict[str, str]:
    return {"SKERRY_SCRIPT_RECORDS_SECOND": str(limit)}


def _cell(name: str) -> Cell | None:
    """Of script "one", and "c2" of "two", which started for a moment."""
    if name not in ("c1", "c2"):
        return None

    def was_starting(began_us: int, ended_us: int) -> bool:
        return name == "c2" and began_us < STARTED.stop and STARTED.start <= ended_us

    record = SimpleNamespace(script_id={"c1": "one", "c2": "two"}[name], version_id="v")
    return cast("Cell", SimpleNamespace(record=record, was_starting=was_starting))


def _line(
    at_us: int, *, slot: str = "s1", cell: str = "c1", status: int = 200, ends: str = "--",
    said: str = "1", took_us: int = 1000,
) -> str:  # fmt: skip
    return (
        f"{at_us} {at_us + took_us} {slot} {cell} 0123456789abcdef 127.0.0.1 {status} {ends} {said} "
        f"0 0 1 100 200 - http app.dev.localhost GET /a b"
    )


def _entry(took_us: int, *, cold: bool = False) -> Record:
    return Record(
        MOMENT_US + 5, "ray", "one", "account", "v", "host", "GET", "/", 200, Outcome.OK, took_us,
        10, 20, cold,
    )  # fmt: skip


def _seconds(count: int, **how: object) -> list[str]:
    return [_line(MOMENT_US + number * 1000, **how) for number in range(count)]  # type: ignore[arg-type]


def test_few_requests_are_left_as_they_are() -> None:
    sums = Sums()
    lines = _seconds(LIMIT)
    assert Thinning(LIMIT, _cell).divide(lines, sums) == lines
    busy = _seconds(LIMIT * 100)
    assert Thinning(0, _cell).divide(busy, sums) == busy
    assert sums.requests == 0


def test_those_that_are_left_are_spread_over_the_second() -> None:
    sums = Sums()
    left = Thinning(LIMIT, _cell).divide(_seconds(1000), sums)
    assert (len(left), sums.requests) == (LIMIT, 1000 - LIMIT)
    times = [int(line.split()[0]) - MOMENT_US for line in left]
    assert {after - before for before, after in itertools.pairwise(times)} == {20_000}
    ((key, one),) = sums
    assert key == (MOMENT_US, "one", "v", 200, Outcome.OK, False)
    assert (one.bytes_in, one.bytes_out) == (95_000, 190_000)


def test_lines_of_more_than_a_second_leave_more() -> None:
    lines = _seconds(4001)
    assert len(Thinning(LIMIT, _cell).divide(lines, Sums())) == 4 * LIMIT
    assert len(Thinning(LIMIT, _cell).divide(["broken", *lines], Sums())) == LIMIT + 1


def test_what_did_not_go_as_usual_is_left() -> None:
    odd = [
        _line(MOMENT_US + 1, ends="CD"),
        _line(MOMENT_US + 2, said="-", status=500),
        _line(MOMENT_US + 3, cell="c9"),
        "no line of the front",
        _line(MOMENT_US + 4).replace(" 200 ", " many "),
    ]
    sums = Sums()
    left = Thinning(LIMIT, _cell).divide([*_seconds(500), *odd], sums)
    assert set(odd) <= set(left)
    assert len(left) + sums.requests == 505


def test_one_of_each_status_is_left_however_rare() -> None:
    rare = _line(MOMENT_US + 5_000_000, status=418)
    sums = Sums()
    left = Thinning(LIMIT, _cell).divide([*_seconds(5000), rare], sums)
    assert left[-1] == rare
    assert left == sorted(left)
    assert len(left) + sums.requests == 5001


def test_a_quiet_script_beside_a_busy_one_is_left() -> None:
    quiet = _seconds(LIMIT, slot="s2", cell="c2")
    left = Thinning(LIMIT, _cell).divide([*_seconds(5000), *quiet], Sums())
    assert set(quiet) <= set(left)


def test_while_a_process_starts_each_request_is_read() -> None:
    sums = Sums()
    lines = _seconds(1000, slot="s2", cell="c2")
    assert set(Thinning(LIMIT, _cell).divide(lines, sums)) == set(lines)
    assert sums.requests == 0


def test_minutes_and_statuses_are_told_apart() -> None:
    lines = [
        _line(MOMENT_US + 59_999_000 + number, status=200 + number % 2) for number in range(2000)
    ]
    sums = Sums()
    left = Thinning(LIMIT, _cell).divide(lines, sums)
    told = Counter(
        (int(line.split()[0]) // MINUTE_US * MINUTE_US, int(line.split()[6])) for line in left
    )
    for key, one in sums:
        told[key.minute_us, key.status] += one.requests
    assert told == {
        (MOMENT_US + minute, status): 500 for minute in (0, MINUTE_US) for status in (200, 201)
    }


def test_what_is_sent_adds_up() -> None:
    sums = Sums()
    chance = random.Random(7)
    times = [chance.randrange(5_000_000) for _ in range(3000)]
    for took_us in times:
        sums.add(_entry(took_us))
    ((*key, bytes_in, bytes_out, took, durations),) = sums.as_json()
    assert key == [MOMENT_US, "one", "v", 200, "ok", False]
    assert (bytes_in, bytes_out, took) == (30_000, 60_000, sum(times))
    assert sum(count for _, count in cast("list[tuple[int, int]]", durations)) == 3000
    assert len(cast("list[object]", durations)) < 800


def test_what_prometheus_is_told_does_not_differ() -> None:
    chance = random.Random(8)
    sums, one_by_one, added_up = Sums(), Totals(), Totals()
    for _ in range(1000):
        entry = _entry(chance.randrange(20_000_000), cold=chance.random() < 0.1)
        sums.add(entry)
        one_by_one.add(entry)
    added_up.add_sums(sums)
    single, summed = one_by_one.scripts["one"], added_up.scripts["one"]
    assert summed.seconds == pytest.approx(single.seconds)
    assert {**vars(summed), "seconds": 0} == {**vars(single), "seconds": 0}


@pytest.mark.parametrize("took_us", [0, 1, 63, 64, 1000, 123_456, 3_600_000_000])
def test_a_rounded_duration_is_almost_the_same(took_us: int) -> None:
    assert abs(rounded(took_us) - took_us) <= took_us * 0.016


def test_counts_by_bound() -> None:
    assert counts_up_to((0.001, 0.01), {1000: 1, 1001: 3, 10_000: 1, 10_001: 1, 0: 1}) == [2, 4, 1]


def test_a_busy_script_loses_no_request(gateway: Gateway, folder: Path) -> None:
    settings = _settings(LIMIT)
    with running_node(gateway, folder, "busy", **settings) as node:
        node.deploy("busy", Bundle(answering("hello")))
        node.deploy("quiet", Bundle(answering("hello")))
        told = node.enrolled
        with wrk(node, "busy") as answers:
            time.sleep(3)
            for _ in range(5):
                node.visit("quiet", "/beside")

        def recorded(name: str) -> int:
            return sum(one["host"] == host_of(name) for one in told.requests())

        def known() -> int:
            lost = [batch["lost"].get("front", 0) for batch in list(told.batches.values())]  # type: ignore[attr-defined]
            return len(told.requests()) + told.added_up() + sum(lost) - recorded("quiet")

        until(lambda: known() >= answers[0] and recorded("quiet") == 5, 30, "all are known")
        until(lambda: not list((node.folder / "spool").glob("*.json.gz")), 20, "all is sent")
        assert known() <= answers[0] + 16  # what was on its way when they left
        assert told.added_up(script_id_of("busy")) > answers[0] / 2
        most = max(len(batch["requests"]) for batch in told.batches.values())  # type: ignore[arg-type]
        assert most <= LIMIT * 3


def test_errors_of_a_busy_script_are_recorded_up_to_twice_as_many(
    gateway: Gateway, folder: Path
) -> None:
    settings = _settings(5)
    with running_node(gateway, folder, "failing", **settings) as node:
        node.deploy("failing", Bundle(PAGES))
        for _ in range(60):
            assert node.visit("failing", "/throw").status == 500
        told = node.enrolled
        until(lambda: len(told.requests()) + told.added_up() == 60, 20, "all are known")
        assert told.added_up() > 0
        outcomes = {
            one[4]
            for batch in list(told.batches.values())
            for one in batch["sums"]  # type: ignore[attr-defined]
        }
        assert outcomes == {"exception"}
        assert {one["outcome"] for one in told.requests()} == {"exception"}


def test_each_request_of_a_script_that_is_looked_at_is_recorded(
    gateway: Gateway, folder: Path
) -> None:
    settings = _settings(2)
    with running_node(gateway, folder, "watched", **settings) as node:
        node.deploy("watched", Bundle(PAGES, observability={"rate": 0.01, "invocations": True}))
        for number in range(40):
            node.visit("watched", f"/{number}")
        until(lambda: len(node.enrolled.requests()) == 40, 20, "each has a record")
        assert node.enrolled.added_up() == 0
