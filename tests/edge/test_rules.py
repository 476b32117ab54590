"""The small rules that need no process to be seen."""

from pathlib import Path

import pytest

from edge.agent.bundles import Bundles, DigestError
from edge.agent.cells.guard import LONGEST_DELAY_SECONDS, delay
from edge.agent.desired import DesiredSlot, Version
from edge.agent.front.template import slots_text
from edge.agent.intake import Intake, advance
from edge.agent.routing import maps
from edge.agent.sealing import Seal
from edge.agent.settings import SettingsError, read_settings
from edge.agent.state import Slot, SlotState, State
from edge.paths import LONGEST_SOCKET_ROOT, NodePaths
from edge.runtime.compatibility import effective_date
from tests.edge.bundles import digest_of


def desired(name: str, generation: int, *hostnames: str, deployed: bool = True) -> DesiredSlot:
    versions = (Version("v", 1, 100.0, {}),) if deployed else ()
    return DesiredSlot(name * 32, "a" * 32, name, generation, None, hostnames, versions)


def slot(source: DesiredSlot, number: int | None) -> Slot:
    return Slot(source, None, number, SlotState.LIVE, None, reported=False)


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path / "state.sqlite", Seal.of(tmp_path / "node.key"))


def test_the_watermark_stops_before_the_first_gap() -> None:
    assert advance(0, set()) == 0
    assert advance(0, {1, 2, 4}) == 2
    assert advance(3, {1, 2, 4, 5}) == 5
    assert advance(5, {1, 2}) == 5


def test_pushes_move_the_watermark_only_without_gaps(state: State) -> None:
    intake = Intake(state)
    assert intake.pushed([desired("1", 1)], 1) is False
    assert state.watermark() == 1
    assert intake.pushed([desired("3", 3)], 3) is True  # 2 is missing
    assert state.watermark() == 1
    assert intake.pushed([desired("2", 2)], 3) is False
    assert state.watermark() == 3


def test_a_pull_moves_the_watermark_even_over_superseded_generations(state: State) -> None:
    intake = Intake(state)
    intake.pulled([desired("1", 7)], 9, complete=True)
    assert state.watermark() == 9
    intake.pulled([desired("2", 12)], 12, complete=False)  # something could not be read
    assert state.watermark() == 9
    assert state.slot("2" * 32)
    intake.pulled([], 4, complete=True)
    assert state.watermark() == 9


def test_what_a_restored_control_plane_does_not_know_is_withdrawn(state: State) -> None:
    intake = Intake(state)
    intake.pulled([desired("1", 3, "kept.test"), desired("2", 7, "gone.test")], 7, complete=True)
    intake.pulled([desired("1", 8, "kept.test")], 8, complete=True)
    intake.void(7)
    intake.void(7)  # every pull says it
    kept, gone = state.slot("1" * 32), state.slot("2" * 32)
    assert kept
    assert gone
    assert kept.desired.hostnames == ("kept.test",)
    assert (gone.desired.hostnames, gone.desired.versions) == ((), ())
    assert gone.state is SlotState.PENDING
    assert state.watermark() == 8


def test_an_older_generation_changes_nothing(state: State) -> None:
    intake = Intake(state)
    intake.pushed([desired("1", 5, "new.test")], 5)
    intake.pushed([desired("1", 4, "old.test")], 5)
    known = state.slot("1" * 32)
    assert known
    assert known.desired.hostnames == ("new.test",)


def test_state_survives_its_process(state: State, tmp_path: Path) -> None:
    Intake(state).pushed([desired("1", 1, "a.test")], 1)
    before = state.slots()
    state.close()
    again = State(tmp_path / "state.sqlite", Seal.of(tmp_path / "node.key"))
    assert again.slots() == before
    assert again.watermark() == 1


def test_cell_numbers_are_never_given_twice(state: State) -> None:
    first = state.add_cell("1" * 32, "v", "d", 0)
    state.remove_cell(first)
    assert state.add_cell("1" * 32, "v", "d", 0).id > first.id


def test_the_newer_decision_gets_a_contested_hostname() -> None:
    old, new = desired("1", 1, "x.test", "y.test"), desired("2", 2, "x.test")
    for order in ([slot(old, 0), slot(new, 1)], [slot(new, 1), slot(old, 0)]):
        assert maps(order).hosts == {"x.test": "s1", "y.test": "s0"}
    gone = desired("2", 3, "x.test", deployed=False)
    assert maps([slot(old, 0), slot(gone, 1)]).hosts == {"x.test": "s0", "y.test": "s0"}


def test_backends_are_declared_for_every_slot() -> None:
    cells = [("c7", Path("/s/c7/main.sock")), ("c8", Path("/s/c8/main.sock"))]
    text = slots_text(3, {1: cells}, {"c8"})
    options = "maxconn 1000 pool-max-conn 1000 pool-purge-delay 2s"
    assert text == (
        "backend s0\nbackend s1\n"
        f"  server c7 unix@/s/c7/main.sock {options}\n"
        f"  server c8 unix@/s/c8/main.sock {options} disabled\n"
        "backend s2\n"
    )


def test_files_are_checked_on_their_way_in_and_out(tmp_path: Path) -> None:
    bundles = Bundles(tmp_path)
    digest = digest_of(b"content")
    with pytest.raises(DigestError):
        bundles.store({digest: b"something else"})
    assert bundles.stored() == []
    bundles.store({digest: b"content"})
    assert bundles.read([digest]) == {digest: b"content"}
    (tmp_path / digest.removeprefix("sha256:")).write_bytes(b"spoilt")
    with pytest.raises(DigestError):
        bundles.read([digest])
    assert bundles.missing([digest]) == [digest]  # the next attempt fetches it again
    with pytest.raises(DigestError):
        bundles.has("../../etc/passwd")


def test_back_off_doubles_up_to_its_limit() -> None:
    assert [delay(failures) for failures in (1, 2, 3)] == [0.1, 0.2, 0.4]
    assert delay(100) == LONGEST_DELAY_SECONDS


def test_dates_are_clamped_and_malformed_ones_left_to_the_runtime() -> None:
    assert effective_date("2024-01-01", "2026-11-24") == "2024-01-01"
    assert effective_date("2999-01-01", "2026-01-01") == "2026-01-01"
    assert effective_date("2999-01-01") < "2999"
    assert effective_date("banana", "2026-01-01") == "banana"


def test_socket_paths_stay_short_however_deep_the_folder(tmp_path: Path) -> None:
    deep = NodePaths.of(tmp_path / ("x" * 120))
    assert len(str(deep.sockets)) <= LONGEST_SOCKET_ROOT
    assert deep.sockets != NodePaths.of(tmp_path / ("y" * 120)).sockets
    near = NodePaths.of(Path("/srv/skerry"))
    assert near.sockets == Path("/srv/skerry/sockets")


def test_settings_say_what_is_wrong() -> None:
    arguments = [
        "--dir",
        "/d",
        "--name",
        "n",
        "--http-port",
        "1",
        "--https-port",
        "2",
        "--agent-port",
        "3",
    ]
    assert read_settings(arguments, {}).slots == 5000
    assert read_settings(arguments, {}).advertise == "https://127.0.0.1:3"
    with pytest.raises(SettingsError, match="SKERRY_SLOTS must be a number"):
        read_settings(arguments, {"SKERRY_SLOTS": "many"})
    with pytest.raises(SettingsError, match="must not be negative"):
        read_settings(arguments, {"SKERRY_PULL_SECONDS": "-1"})
    with pytest.raises(SettingsError, match="SKERRY_SLOTS must be a number"):
        read_settings(arguments, {"SKERRY_SLOTS": "inf"})
    with pytest.raises(SettingsError, match="SKERRY_FRONT_THREADS must be from 1 to 64"):
        read_settings(arguments, {"SKERRY_FRONT_THREADS": "65"})
    with pytest.raises(SettingsError, match="--http-port and --agent-port must be different"):
        read_settings([*arguments, "--agent-port", "1"], {})
    with pytest.raises(SettingsError, match="--door-port must be from 0 to 65535, not 65536"):
        read_settings([*arguments, "--door-port", "65536"], {})
