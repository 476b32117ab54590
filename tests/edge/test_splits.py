"""Two versions of a script side by side: who gets which, and how one takes over from the other."""

import os
import re
import signal
import socket
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

import pytest

from tests.edge.bundles import Bundle, answering, host_of, slot
from tests.edge.gateway import Gateway
from tests.edge.nodes import TestNode, running_node, until
from tests.edge.test_calls import binding
from tests.edge.test_scheduled import ended, send
from tests.edge.visitors import wrk

pytestmark = pytest.mark.edge

KEY, OVERRIDES = "Cloudflare-Workers-Version-Key", "Cloudflare-Workers-Version-Overrides"
VISITS = 10_000
# Of that many, 10 %: within 3.29 standard deviations in 99.9 % of all tries.
BETWEEN = (901, 1099)
# So many requests are written before the first answer is read.
PIPELINED = 50
_ANSWER = re.compile(rb"HTTP/1\.1 200 .*?\r\n\r\n(\w+\.)", re.DOTALL)

Headers = Callable[[int], Mapping[str, str]]


def version(text: str, number: int, **more: object) -> Bundle:
    """Says its name with a full stop, by which `visits` sees that an answer is whole."""
    return Bundle(answering(f"{text}."), number=number, **more)  # type: ignore[arg-type]


def visits(node: TestNode, name: str, count: int, headers: Headers) -> list[str]:
    """What so many visitors got, over one connection."""
    found: list[str] = []
    with socket.create_connection(("127.0.0.1", node.http_port), timeout=60) as connection:
        for start in range(0, count, PIPELINED):
            numbers = range(start, min(start + PIPELINED, count))
            connection.sendall(b"".join(_request(name, headers(number)) for number in numbers))
            answers, said = b"", list[bytes]()
            while len(said) < len(numbers):
                chunk = connection.recv(65536)
                assert chunk, answers
                answers += chunk
                said = _ANSWER.findall(answers)
            found += [one.decode().rstrip(".") for one in said]
    return found


def _request(name: str, headers: Mapping[str, str]) -> bytes:
    lines = [f"{key}: {value}\r\n" for key, value in headers.items()]
    return f"GET / HTTP/1.1\r\nHost: {host_of(name)}\r\n{''.join(lines)}\r\n".encode()


def keyed(number: int) -> dict[str, str]:
    return {KEY: f"user-{number}"}


def unkeyed(_: int) -> dict[str, str]:
    return {}


def expected(percentage: float, count: int = 200) -> list[str]:
    """What visitors with keys get while the newer version has that percentage."""
    buckets = (zlib.crc32(f"user-{number}".encode()) % 10_000 for number in range(count))
    return ["new" if bucket < percentage * 100 else "old" for bucket in buckets]


def serving(node: TestNode, name: str) -> dict[str, object]:
    """The processes that serve a script, by version."""
    id_ = slot(name, 0, None, None)["script_id"]
    cells = [
        cell for one in node.status()["slots"] if one["script_id"] == id_ for cell in one["cells"]
    ]  # type: ignore[attr-defined]
    return {str(cell["version_id"]): cell["pid"] for cell in cells if cell["state"] == "serving"}


def texts(node: TestNode, name: str, count: int = 30) -> set[str]:
    return set(visits(node, name, count, unkeyed))


@pytest.fixture(scope="module")
def old() -> Bundle:
    return version("old", 1)


@pytest.fixture(scope="module")
def new() -> Bundle:
    return version("new", 2)


def split(node: TestNode, name: str, old: Bundle, new: Bundle, percentage: float) -> None:
    said = node.deploy(name, old, beside=(new, percentage))
    assert said["state"] == "live", said


def test_ten_percent_are_ten_percent(node: TestNode, old: Bundle, new: Bundle) -> None:
    node.deploy("shared", old)
    split(node, "shared", old, new, 10)
    for headers in (unkeyed, keyed):
        counted = Counter(visits(node, "shared", VISITS, headers))
        assert counted.keys() == {"old", "new"}
        assert BETWEEN[0] <= counted["new"] <= BETWEEN[1], counted
    assert visits(node, "shared", 200, keyed) == expected(10)
    assert texts(node, "shared") <= {"old", "new"}


def test_a_split_may_be_a_scripts_first_deployment(
    node: TestNode, old: Bundle, new: Bundle
) -> None:
    split(node, "first", old, new, 30)
    assert visits(node, "first", 200, keyed) == expected(30)


def test_shares_change_and_no_process_does(node: TestNode, old: Bundle, new: Bundle) -> None:
    node.deploy("turning", old)
    split(node, "turning", old, new, 0)
    assert texts(node, "turning") == {"old"}
    processes = serving(node, "turning")
    assert len(processes) == 2
    # Beyond a half the two exchange their places on the node.
    for percentage in (10, 50, 90.5, 99.99, 40, 100, 0, 60):
        split(node, "turning", old, new, percentage)
        assert visits(node, "turning", 200, keyed) == expected(percentage), percentage
        assert serving(node, "turning") == processes
    # In whatever order the control plane says it.
    assert node.deploy("turning", new, beside=(old, 95))["state"] == "live"
    assert visits(node, "turning", 200, keyed) == expected(5)
    assert serving(node, "turning") == processes


def asking(node: TestNode, value: str, key: str = "") -> str:
    """What most of ten visitors get, all of them with this override."""
    headers = {OVERRIDES: value} | ({KEY: key} if key else {})
    return "/".join(sorted(set(visits(node, "asked", 20, lambda _: headers))))


def test_a_visitor_may_ask_for_one_of_the_two(node: TestNode, old: Bundle, new: Bundle) -> None:
    node.deploy("asked", old)
    split(node, "asked", old, new, 0)
    wanted = f'asked="{new.version_id}"'
    for value in (
        wanted,
        f"{wanted};because=1",
        f'other="{old.version_id}", {wanted}',
        f'{wanted},other="{old.version_id}"',
        f'other="{old.version_id}"\r\n{OVERRIDES}: {wanted}',
    ):
        assert asking(node, value) == "new", value
    assert asking(node, wanted, key="user-1") == "new", "it is more than a key"
    stranger = version("stranger", 1)
    node.deploy("strange", stranger)
    for value in (
        f'asked="{stranger.version_id}"',
        f'other="{new.version_id}"',
        f"un{wanted}",
        f"asked={new.version_id}",
        f'asked="{new.version_id.replace("-", "")}"',
        f'asked="{new.version_id}',
        'asked=""',
        "asked",
        "",
        ",;=",
        'asked="s0"',
    ):
        assert asking(node, value) == "old", value
    split(node, "asked", old, new, 100)
    assert asking(node, f'asked="{old.version_id}"') == "old"
    assert node.deploy("asked", new)["state"] == "live"
    assert asking(node, f'asked="{old.version_id}"') == "new", "it is no longer deployed"


@pytest.mark.parametrize("winner", ["new", "old"])
def test_one_of_the_two_gets_everybody_under_load(
    node: TestNode, old: Bundle, new: Bundle, winner: str
) -> None:
    name = f"loaded-{winner}"
    chosen = new if winner == "new" else old
    node.deploy(name, old)
    with wrk(node, name) as answers:
        for percentage in (10, 50, 90):
            split(node, name, old, new, percentage)
        processes = serving(node, name)
        assert node.deploy(name, chosen)["state"] == "live"
        assert texts(node, name) == {winner}
        assert visits(node, name, 50, keyed) == [winner] * 50
        pid = processes[chosen.version_id]
        until(lambda: serving(node, name) == {chosen.version_id: pid}, 30, "one is left")
        split(node, name, old, new, 20)
        assert texts(node, name, 200) == {"old", "new"}
        third = version("third", 3)
        assert node.deploy(name, third)["state"] == "live", "one that is neither of the two"
        assert texts(node, name) == {"third"}
    assert answers[0] > 100
    until(lambda: serving(node, name).keys() == {third.version_id}, 30, "the two have ended")


def test_one_of_the_two_is_exchanged(node: TestNode, old: Bundle, new: Bundle) -> None:
    older = version("older", 0)
    node.deploy("moving", older)
    split(node, "moving", older, old, 50)
    split(node, "moving", old, new, 50)
    assert visits(node, "moving", 200, keyed) == expected(50)
    third = version("third", 3)
    split(node, "moving", old, third, 10)
    assert [one.replace("third", "new") for one in visits(node, "moving", 200, keyed)] == expected(
        10
    )


BROKEN = "broken();"


def test_a_version_that_does_not_start_changes_nothing(
    node: TestNode, old: Bundle, new: Bundle
) -> None:
    node.deploy("careful-two", old)
    for wrong, right, share in ((Bundle(BROKEN, number=3), old, 60), (Bundle(BROKEN), old, 10)):
        said = node.deploy("careful-two", right, beside=(wrong, share))
        assert said["state"] == "failed"
        assert "broken is not defined" in str(said["reason"])
        assert texts(node, "careful-two") == {"old"}
    split(node, "careful-two", old, new, 25)
    processes = serving(node, "careful-two")
    for beside in ((new, 80.0), (old, 80.0), None):
        said = node.deploy("careful-two", Bundle(BROKEN, number=3), beside=beside)
        assert said["state"] == "failed"
        assert visits(node, "careful-two", 200, keyed) == expected(25)
        assert serving(node, "careful-two") == processes
    split(node, "careful-two", old, new, 75)
    assert visits(node, "careful-two", 200, keyed) == expected(75)
    assert serving(node, "careful-two") == processes


def test_a_version_that_cannot_be_started_again(node: TestNode) -> None:
    """Its file is gone from the disk: the other one serves on, and the share changes when it is back."""
    old, new = version("old", 1), version("new", 2)
    split(node, "lame", old, new, 50)
    ((digest, content),) = new.files().items()
    (file,) = (node.folder / "modules").rglob(f"*{digest.removeprefix('sha256:')}")
    file.unlink()
    os.kill(int(str(serving(node, "lame")[new.version_id])), signal.SIGKILL)
    until(lambda: new.version_id not in serving(node, "lame"), what="it is gone")
    number = expected(50).index("new")
    assert node.visit("lame", headers=keyed(number)).status == 503
    until(lambda: state(node, "lame") == "failed", what="the node says so")
    assert node.visit("lame", headers=keyed(expected(50).index("old"))).text == "old."
    assert node.deploy("lame", old, beside=(new, 80))["state"] == "failed"
    file.write_bytes(content)
    until(lambda: state(node, "lame") == "live", 40, "it is back")
    assert visits(node, "lame", 200, keyed) == expected(80)


def state(node: TestNode, name: str) -> object:
    return node.enrolled.reported()[str(slot(name, 0, None, None)["script_id"])]["state"]


def test_a_withdrawn_script_leaves_nothing(node: TestNode, old: Bundle, new: Bundle) -> None:
    before = taken(node)
    split(node, "gone", old, new, 50)
    assert len(taken(node)) == len(before) + 2
    assert node.deploy("gone", None)["state"] == "withdrawn"
    assert node.visit("gone").status == 404
    until(lambda: taken(node) == before, 30, "and their slots of the front are free")
    split(node, "gone", old, new, 50)
    assert visits(node, "gone", 200, keyed) == expected(50)


def taken(node: TestNode) -> list[str]:
    """The front's slots that have a cell."""
    rows = [line.split() for line in node.admin("show servers state").splitlines()]
    return sorted({row[1] for row in rows if len(row) > 6 and re.fullmatch(r"s\d+", row[1])})


def test_what_owns_storage_is_not_split(node: TestNode, old: Bundle) -> None:
    source = (
        'import { DurableObject } from "cloudflare:workers";\n'
        "export class Ledger extends DurableObject {}\n" + answering("ledger.")
    )
    objects = [{"class_name": "Ledger", "namespace_id": "1" * 32, "sqlite": True}]
    node.deploy("owner", old)
    said = node.deploy("owner", old, beside=(Bundle(source, objects=objects), 10))
    assert said["state"] == "failed"
    assert "Durable Objects" in str(said["reason"])
    assert texts(node, "owner") == {"old"}


def test_records_say_which_version_answered(node: TestNode, old: Bundle, new: Bundle) -> None:
    split(node, "recorded", old, new, 50)
    for percentage in (30, 70):
        split(node, "recorded", old, new, percentage)
        wanted = {f"/{percentage}/{one}": text for one, text in enumerate(expected(percentage, 20))}
        for number, path in enumerate(wanted):
            node.visit("recorded", path, headers=keyed(number))
        names = {old.version_id: "old", new.version_id: "new"}

        def seen(names: dict[str, str] = names) -> dict[str, str]:
            entries = [
                one for one in node.enrolled.requests() if one["host"] == host_of("recorded")
            ]
            return {str(one["path"]): names[str(one["version_id"])] for one in entries}

        until(lambda: wanted.items() <= seen().items(), 20, "all are recorded")  # noqa: B023
    ids = {
        one["script_id"] for one in node.enrolled.requests() if one["host"] == host_of("recorded")
    }
    assert len(ids) == 1


SAYS = """
import { WorkerEntrypoint } from "cloudflare:workers";
export default class extends WorkerEntrypoint {
  async fetch() { return new Response("NAME."); }
  async scheduled() { console.log("NAME"); }
}"""


def test_what_is_no_visit_goes_to_the_larger_share(node: TestNode) -> None:
    older, newer = (
        Bundle(SAYS.replace("NAME", one), number=i) for i, one in ((1, "old"), (2, "new"))
    )
    said = node.deploy("larger", older)
    caller = "export default { fetch: (request, env) => env.TO.fetch(request) };"
    node.deploy("calls-it", Bundle(caller, bindings=[binding("TO", "larger")]))
    for percentage, larger in ((10, "old"), (70, "new"), (100, "new"), (20, "old")):
        split(node, "larger", older, newer, percentage)
        assert texts(node, "calls-it", 20) == {larger}
        assert ended(node, send(node, said, "* * * * *"))["logs"] == [larger]


def test_each_of_the_two_rests_and_wakes(gateway: Gateway, folder: object) -> None:
    resting = {"idle_seconds": 1, "max_cells": None}
    old, new = (version(one, i, scaling=resting) for i, one in ((1, "old"), (2, "new")))
    with running_node(gateway, folder, "rests") as node:  # type: ignore[arg-type]
        split(node, "rests", old, new, 50)
        until(lambda: not serving(node, "rests"), 30, "both are at rest")
        assert visits(node, "rests", 200, keyed) == expected(50)
        split(node, "rests", old, new, 100)
        until(lambda: not serving(node, "rests"), 30, "both are at rest")
        assert texts(node, "rests") == {"new"}
        assert serving(node, "rests").keys() == {new.version_id}
        said = node.deploy("rests", new, beside=(Bundle(BROKEN), 10))
        assert said["state"] == "failed"
        until(lambda: not serving(node, "rests"), 30, "both are at rest")
        assert texts(node, "rests") == {"new"}
        assert state(node, "rests") == "failed", "one that is back says nothing of the other"


@pytest.fixture
def own_node(
    gateway: Gateway, folder: object, request: pytest.FixtureRequest
) -> Iterator[TestNode]:
    with running_node(gateway, folder, request.node.name.removeprefix("test_")[:16]) as node:  # type: ignore[arg-type]
        yield node


def test_a_split_survives_its_processes(own_node: TestNode, old: Bundle, new: Bundle) -> None:
    node = own_node
    node.deploy("kept", old)
    split(node, "kept", old, new, 10)
    split(node, "kept", old, new, 70)
    processes = serving(node, "kept")
    node.kill_agent()
    assert visits(node, "kept", 200, keyed) == expected(70)
    node.start()
    assert visits(node, "kept", 200, keyed) == expected(70)
    assert serving(node, "kept") == processes, "both were adopted"
    (front,) = node.pids("front")
    os.kill(front, signal.SIGKILL)
    assert visits(node, "kept", 200, keyed) == expected(70)
    until(lambda: node.pids("front") not in ([], [front]), what="another one serves")
    assert node.events("front_repaired") == [], "all of it was in the files"
    for pid in processes.values():
        os.kill(int(str(pid)), signal.SIGKILL)
    until(lambda: not serving(node, "kept"), what="they are gone")
    assert visits(node, "kept", 200, keyed) == expected(70)
    node.kill_everything()
    node.start()
    assert visits(node, "kept", 200, keyed) == expected(70)
    split(node, "kept", old, new, 20)
    assert visits(node, "kept", 200, keyed) == expected(20)


def test_a_split_is_repaired_when_the_front_differs(
    own_node: TestNode, old: Bundle, new: Bundle
) -> None:
    node = own_node
    split(node, "mended", old, new, 40)
    node.admin(f"clear map {node.folder.resolve()}/front/splits.map")
    assert node.visit("mended").status == 503
    node.kill_agent()
    node.start()  # compares at its start, as it does every minute
    assert visits(node, "mended", 200, keyed) == expected(40)


def test_an_agent_killed_in_the_middle_goes_on(
    own_node: TestNode, old: Bundle, new: Bundle
) -> None:
    node = own_node
    node.deploy("half", old)
    node.gateway.decide(node.enrolled, "half", old, beside=(new, 60))
    until(lambda: new.version_id in node.log(), 20, "it has begun")
    node.kill_agent()
    assert texts(node, "half") <= {"old", "new"}
    node.start()
    until(lambda: visits(node, "half", 200, keyed) == expected(60), 30, "it is done")
