"""Of a busy cell the front says one line of several, and every request is counted nevertheless."""

import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from edge.agent.cells.cell import Cell
from edge.agent.records import sampling
from edge.agent.records.sampling import LINES, Sampling, one_of
from edge.agent.records.sums import MINUTE_US, Sums
from tests.edge.bundles import Bundle, script_id_of
from tests.edge.gateway import Gateway
from tests.edge.nodes import TestNode, running_node, until
from tests.edge.visitors import wrk

pytestmark = pytest.mark.edge

LIMIT = 200
MOMENT_US = 1_790_000_000_000_000 // MINUTE_US * MINUTE_US
PAGES = """
export default { fetch(request) {
  const { pathname } = new URL(request.url);
  if (pathname === "/throw") throw new Error("boom");
  if (pathname === "/gone") return new Response("gone", { status: 410 });
  return new Response("hello");
} };
"""
ODD = {"/throw": 500, "/gone": 410}


def _cell(name: str) -> Cell | None:
    record = SimpleNamespace(script_id="one", version_id="v")
    return cast("Cell", SimpleNamespace(record=record)) if name in ("c1", "c2") else None


def _line(
    silent: str, *, at_us: int = MOMENT_US, cell: str = "c1", slot: str = "s1", status: int = 200,
    ends: str = "--", took_us: int = 1000,
) -> str:  # fmt: skip
    return (
        f"{at_us} {at_us + took_us} {slot} {cell} 0123456789abcdef 127.0.0.1 {status} {ends} 1 "
        f"0 0 1 100 200 {silent} http app.dev.localhost GET /"
    )


def _asked(silent: str, at_us: int = MOMENT_US) -> str:
    return _line(silent, at_us=at_us, slot="-", status=204, ends="LR", took_us=0)


def _taken(of: Sampling, *lines: str) -> int:
    """How many of these lines' requests had none, as far as they are in the sums now."""
    sums = Sums()
    assert of.take(lines, sums) == 0
    return sums.requests


@pytest.mark.parametrize(
    ("rate", "before", "expected"),
    [
        (LINES, 1, 1),
        (4 * LINES - 1, 1, 1),
        (4 * LINES, 1, 4),
        (20_000, 1, 64),
        (16 * LINES, 1, 16),
        # What was is good enough.
        (18_000, 32, 32),
        (18_000, 128, 128),
        (20_000, 16, 64),
        (3 * LINES, 4, 4),
        (2 * LINES, 4, 1),
        (0, 64, 1),
    ],
)
def test_of_how_many_requests_one_has_a_line(rate: float, before: int, expected: int) -> None:
    assert one_of(rate, before, LINES) == expected


def test_each_count_is_added_once() -> None:
    of = Sampling(LIMIT, _cell)
    assert _taken(of, _line("7:10"), _line("7:15"), _line("7:15")) == 15
    assert _taken(of, _line("7:15")) == 0
    # One line was lost, and one is late.
    assert _taken(of, _line("7:40"), _line("7:39")) == 25
    assert _taken(of, _asked("7:41")) == 1


def test_another_front_counts_from_zero() -> None:
    of = Sampling(LIMIT, _cell)
    assert _taken(of, _line("7:100"), _line("8:5"), _line("7:101")) == 106


def test_a_counter_that_is_full_begins_again() -> None:
    of = Sampling(LIMIT, _cell)
    of.recall([f"heard 7 c1 {2**32 - 10}"])
    assert _taken(of, _line("7:5")) == 15


def test_they_are_like_those_that_had_a_line() -> None:
    of, sums = Sampling(LIMIT, _cell), Sums()
    broken = _line("7:2", ends="CD", took_us=9_000_000)
    others = [_line("7:4", took_us=1000), _line("7:10", took_us=3000, at_us=MOMENT_US + MINUTE_US)]
    assert of.take([broken, *others], sums) == 0
    told = {key.minute_us: (key, one) for key, one in sums}
    assert {at: dict(one.durations_us) for at, (_, one) in told.items()} == {
        MOMENT_US: {1000: 5},
        MOMENT_US + MINUTE_US: {3000: 5},
    }
    key, one = told[MOMENT_US]
    assert (key.script_id, key.version_id, key.status, key.outcome) == ("one", "v", 200, "ok")
    assert (one.bytes_in, one.bytes_out) == (500, 1000)
    # The last ones are like those before, but of this minute.
    late = Sums()
    of.take([_asked("7:13", MOMENT_US + 2 * MINUTE_US)], late)
    ((key, one),) = late
    assert (key.minute_us, dict(one.durations_us)) == (MOMENT_US + 2 * MINUTE_US, {3000: 3})


def test_those_of_a_cell_that_nobody_knows_are_lost_and_counted() -> None:
    sums = Sums()
    lines = [_line("7:10", cell="c9"), _line("7:3")]
    assert Sampling(LIMIT, _cell).take(lines, sums) == 10
    assert sums.requests == 3


def test_lines_that_are_none_change_nothing() -> None:
    of = Sampling(LIMIT, _cell)
    assert _taken(of, "", "half a line", _line("7:x"), _line("x"), _line("7:3")) == 3


def test_an_agent_goes_on_where_the_one_before_was_killed() -> None:
    first = Sampling(LIMIT, _cell)
    _taken(first, _line("7:1000"))
    second = Sampling(LIMIT, _cell)
    assert first.known([]) == []
    journal = [*first.known(["c1"]), _line("7:1010")]
    assert second.recall(journal) == journal[1:]
    assert _taken(second, *journal[1:]) == 10
    # One that left no journal: nobody can say what of it is known.
    third = Sampling(LIMIT, _cell)
    third.inherit(["c1"])
    assert _taken(third, _line("7:1020"), _line("7:1025")) == 5


def test_who_is_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    monkeypatch.setattr(sampling.time, "monotonic", lambda: now)
    of = Sampling(LIMIT, _cell)
    busy = [_line("-") for _ in range(8 * LINES)]
    _taken(of, *busy)
    of.take([_line("-", cell="c9") for _ in range(8 * LINES)], Sums())
    now += 1
    assert of.decide({}) == {"c1": 8}
    # Lines that stand for others count with them.
    _taken(of, *(_line(f"7:{number * 7}") for number in range(1, LINES + 1)))
    now += 1
    assert of.decide({"c1": 8}) == {"c1": 8}
    now += 1
    assert of.decide({"c1": 8}) == {}
    everything = Sampling(0, _cell)
    _taken(everything, *busy)
    now += 1
    assert everything.decide({}) == {}


def test_the_cells_of_a_script_share_its_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    monkeypatch.setattr(sampling.time, "monotonic", lambda: now)
    of = Sampling(LIMIT, _cell)
    _taken(of, *(_line("-", cell=cell) for cell in ("c1", "c2") for _ in range(2 * LINES)))
    now += 1
    assert of.decide({}) == {"c1": 4, "c2": 4}


def test_what_does_not_go_as_usual_makes_no_cell_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    monkeypatch.setattr(sampling.time, "monotonic", lambda: now)
    of = Sampling(LIMIT, _cell)
    _taken(of, *(_line("-", status=410) for _ in range(8 * LINES)))
    now += 1
    assert of.decide({}) == {}


# On a node


def _sampled(node: TestNode) -> list[str]:
    """Which cells are, as HAProxy has it."""
    return [
        line.split()[1]
        for line in node.admin(f"show map {node.folder}/front/sampled.map").splitlines()
    ]


def _without_line(node: TestNode) -> int:
    """How many requests the front has kept to itself."""
    table = node.admin("show table silent")
    return sum(int(line.rpartition("gpc0=")[2]) for line in table.splitlines() if "gpc0=" in line)


def _known(node: TestNode) -> int:
    told = node.enrolled
    lost = [batch["lost"].get("front", 0) for batch in list(told.batches.values())]  # type: ignore[attr-defined]
    return len(told.requests()) + told.added_up() + sum(lost)


def _all_is_known(node: TestNode, answers: int, missing: int = 0) -> None:
    until(lambda: _known(node) >= answers - missing, 30, "all are known")
    until(lambda: not _sampled(node), 10, "nobody is busy any more")
    time.sleep(2.5)  # nothing comes after that
    assert _known(node) <= answers + 16  # what was on its way when they left


def test_a_busy_script_has_few_lines_and_loses_no_request(gateway: Gateway, folder: Path) -> None:
    with running_node(gateway, folder, "sampled") as node:
        node.deploy("busy", Bundle(PAGES))
        with wrk(node, "busy") as answers:
            until(lambda: _sampled(node), 20, "it is sampled")
            for path in [*ODD] * 3:
                assert node.visit("busy", path).status == ODD[path]
            time.sleep(3)
        _all_is_known(node, answers[0] + 3 * len(ODD))
        assert _without_line(node) > answers[0] / 4
        told = node.enrolled
        assert told.added_up(script_id_of("busy")) > answers[0] / 2
        sums = [one for batch in told.batches.values() for one in batch["sums"]]  # type: ignore[attr-defined]
        went = Counter((one["status"], one["outcome"]) for one in told.requests())
        for one in sums:
            went[one[3], one[4]] += sum(count for _, count in one[-1])
        assert {how: went[how] for how in went if how[0] != 200} == {
            (500, "exception"): 3,
            (410, "ok"): 3,
        }
        usual = [one for one in sums if one[3] == 200]
        count = sum(count for one in usual for _, count in one[-1])
        bytes_out = sum(one[7] for one in usual) / count
        single = [one for one in told.requests() if one["path"] == "/" and one["status"] == 200]
        assert bytes_out == pytest.approx(int(str(single[-1]["bytes_out"])), rel=0.02)


def test_an_agent_that_is_killed_counts_none_twice(gateway: Gateway, folder: Path) -> None:
    with running_node(gateway, folder, "sampled-mortal") as node:
        node.deploy("busy", Bundle(PAGES))
        with wrk(node, "busy") as answers:
            until(lambda: _without_line(node) > 2000, 20, "many have no line")
            time.sleep(3.5)  # several batches, and into the middle of a second
            node.kill_agent()
            time.sleep(0.5)
            node.start()
            time.sleep(2)
        # What was on its way from the pipe into the journal: a fiftieth of a second's lines.
        _all_is_known(node, answers[0], missing=100)


def test_who_is_looked_at_is_not_sampled(gateway: Gateway, folder: Path) -> None:
    with running_node(gateway, folder, "sampled-watched") as node:
        node.deploy("busy", Bundle(PAGES))
        try:
            with wrk(node, "busy"):
                until(lambda: _sampled(node), 20, "it is sampled")
                before = _sampled(node)
                gateway.tailed.add(script_id_of("busy"))
                until(lambda: not _sampled(node), 20, "it is not sampled any more")
                for number in range(20):
                    node.visit("busy", f"/seen-{number}")
                time.sleep(1)
                assert not _sampled(node)
            seen = {f"/seen-{number}" for number in range(20)}

            def recorded() -> set[str]:
                return {str(one["path"]) for one in node.enrolled.requests()}

            until(lambda: seen <= recorded(), 30, "each has a record")
            assert before
        finally:
            gateway.tailed.clear()


def test_the_host_of_a_count_leads_nowhere(node: TestNode) -> None:
    """The counts are asked for on a socket that only the node's user can open, never on a visitor's port."""
    assert node.visit("x", "/c1", host="log").status == 404
    socket = node.folder / "sockets" / "silent.sock"
    assert socket.stat().st_mode & 0o077 == 0
