"""What a cell can see and do outside of its script: nothing but its way out."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from edge.paths import NodePaths
from edge.runtime.binary import CHECKOUT, ENVIRONMENT, Runtime, find_runtime
from edge.runtime.sandbox import CHECK_UID, FIRST_UID, Level, Sandbox, find_sandbox
from tests.edge.bundles import Bundle, answering
from tests.edge.gateway import Gateway
from tests.edge.nodes import TestNode, running, running_node, until

pytestmark = [
    pytest.mark.edge,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root gives cells users of their own"),
]

ALICE, BOB = "a" * 32, "b" * 32
SECRET = "s3cret-of-alice-XYZZY"

# Runs as the cell's user, in the cell's namespaces when a pid is given, and tries what it is told.
INTRUDER = """
import ctypes, json, os, socket, sys
pid, uid, attempts = json.load(sys.stdin)
libc = ctypes.CDLL(None, use_errno=True)
if pid:
    for kind in ("net", "ipc", "mnt"):
        descriptor = os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY)
        if kind == "mnt":
            descriptors = os.closerange(descriptor + 1, 64)
        assert libc.setns(descriptor, 0) == 0, kind
        os.close(descriptor)
os.setgroups([])
os.setresgid(uid, uid, uid)
os.setresuid(uid, uid, uid)
def attempt(kind, target):
    if kind == "read":
        return len(os.read(os.open(target, os.O_RDONLY), 10))
    if kind == "list":
        return os.listdir(target)
    if kind == "write":
        return os.open(target, os.O_WRONLY | os.O_CREAT)
    family = socket.AF_UNIX if kind == "unix" else socket.AF_INET
    with socket.socket(family) as one:
        one.settimeout(2)
        return one.connect(target if kind == "unix" else tuple(target))
out = []
for kind, target in attempts:
    try:
        attempt(kind, target)
        out.append("done")
    except OSError as error:
        out.append(type(error).__name__)
print(json.dumps(out))
"""


@pytest.fixture(scope="module")
def pair(node: TestNode) -> dict[str, int]:
    """The pids of cells of two accounts; alice has two scripts."""
    binding = {"name": "SECRET", "type": "secret_text", "text": SECRET}
    deploy_for(node, "alice", Bundle(answering("alice"), bindings=[binding]), ALICE)
    first = set(node.pids("cell:"))
    deploy_for(node, "bob", Bundle(answering("bob")), BOB)
    second = set(node.pids("cell:")) - first
    deploy_for(node, "alice-two", Bundle(answering("alice-two")), ALICE)
    third = set(node.pids("cell:")) - first - second
    return {"alice": first.pop(), "bob": second.pop(), "alice-two": third.pop()}


def deploy_for(node: TestNode, name: str, bundle: Bundle, account_id: str) -> None:
    decided = node.gateway.decide(node.enrolled, name, bundle)
    decided["account_id"] = account_id
    (said,) = node.gateway.push(node.enrolled, decided, files=bundle.files())["slots"]  # type: ignore[misc,attr-defined]
    assert said["state"] == "live", said


def status_of(pid: int) -> dict[str, list[str]]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.split() for key, _, value in (line.partition(":") for line in lines)}


def uid_of(pid: int) -> int:
    """The outer user: the same for real, effective, saved and file system."""
    (uid,) = set(status_of(pid)["Uid"])
    return int(uid)


def intrude(pid: int, uid: int, attempts: list[tuple[str, object]]) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", INTRUDER],
        input=json.dumps([pid, uid, attempts]),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    outcomes: list[str] = json.loads(done.stdout)
    return outcomes


def agent_pid(node: TestNode) -> int:
    return int(json.loads((node.folder / "agent.lock").read_text())["pid"])


def test_a_user_per_account(node: TestNode, pair: dict[str, int]) -> None:
    users = {name: uid_of(pid) for name, pid in pair.items()}
    agent = uid_of(agent_pid(node))
    assert users["alice"] == users["alice-two"] != users["bob"]
    for user in users.values():
        assert user not in (0, agent)
        assert FIRST_UID <= user < 2**31
    for pid in pair.values():
        assert set(status_of(pid)["Gid"]) == {str(uid_of(pid))}
        assert status_of(pid)["Groups"] == []


def test_no_privileges_and_no_way_to_new_ones(pair: dict[str, int]) -> None:
    for pid in pair.values():
        status = status_of(pid)
        assert status["NoNewPrivs"] == ["1"]
        for capabilities in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(status[capabilities][0], 16) == 0, capabilities
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert limits.split("Max core file size")[1].split()[:2] == ["0", "0"]


def test_namespaces_of_its_own(node: TestNode, pair: dict[str, int]) -> None:
    pids = [agent_pid(node), *pair.values()]
    for kind in ("net", "pid", "mnt", "ipc", "uts", "user", "cgroup"):
        views = {os.readlink(f"/proc/{pid}/ns/{kind}") for pid in pids}
        assert len(views) == len(pids), kind
    interfaces = Path(f"/proc/{pair['alice']}/net/dev").read_text().splitlines()[2:]
    assert [line.split(":")[0].strip() for line in interfaces] == ["lo"]


def test_the_files_of_a_cell(pair: dict[str, int]) -> None:
    for pid in pair.values():
        root = Path(f"/proc/{pid}/root")
        seen = set(os.listdir(root))
        assert seen <= {"cell.bin", "doors", "lib", "lib64", "nowhere", "proc", "usr", "workerd"}
        assert os.listdir(root / "nowhere") == []
        shared = {"egress.sock", "mount-0", "mount-1", "mount-2"}
        # Of accounts that have scripts, each only for its own cells.
        assert set(os.listdir(root / "doors")) - {ALICE, BOB} == shared
        assert os.listdir(root / "doors" / ALICE) == ["cache.sock"]
        assert os.listdir(root / "usr") == ["lib"]
        assert os.listdir(root / "proc") == ["self"]


def private_places(node: TestNode, cell: int) -> list[tuple[str, object]]:
    """Everything that must stay out of reach, on the file system and on the network."""
    paths = NodePaths.of(node.folder)
    sockets = list(paths.sockets.rglob("*.sock"))
    assert len(sockets) >= 8  # keeper, front, two for each of three cells
    # Of an account whose cells the attempts are not made from.
    sockets.append(paths.store_socket(BOB, "cache"))
    files = [paths.database, paths.node_key, paths.credential, paths.agent_lock]
    return [
        *(("unix", str(path)) for path in sockets),
        *(("read", str(path)) for path in [*files, *paths.modules.iterdir()]),
        *(("list", str(folder)) for folder in (paths.root, paths.sockets, paths.modules)),
        ("read", "/etc/shadow"),
        ("read", f"/proc/{cell}/environ"),
        ("write", "/usr/lib/mine"),
        ("write", str(paths.doors / "mine")),
    ]


def test_an_intruder_in_the_sandbox_finds_nothing(node: TestNode, pair: dict[str, int]) -> None:
    pid = pair["alice"]
    attempts = private_places(node, pair["bob"])
    attempts += [
        ("read", "/etc/passwd"),
        ("read", "/etc/hostname"),
        ("list", "/tmp"),
        ("list", "/home"),
        ("write", "/doors/mine"),
        ("unix", f"/doors/{BOB}/cache.sock"),
        ("tcp", ["127.0.0.1", node.http_port]),
        ("tcp", ["127.0.0.1", int(node.enrolled.agent_url.rpartition(":")[2])]),
        ("tcp", ["1.1.1.1", 80]),
    ]
    outcomes = intrude(pid, uid_of(pid), attempts)
    reached = [one for one, outcome in zip(attempts, outcomes, strict=True) if outcome == "done"]
    assert reached == []
    # What it may: so the attempts above were made from a place where something can succeed.
    allowed: list[tuple[str, object]] = [
        ("unix", "/doors/egress.sock"),
        ("unix", f"/doors/{ALICE}/cache.sock"),
        ("read", "/cell.bin"),
    ]
    assert intrude(pid, uid_of(pid), allowed) == ["done", "done", "done"]


def test_its_user_is_powerless_outside_of_the_sandbox(node: TestNode, pair: dict[str, int]) -> None:
    """Had it broken out of its namespaces, it would still be nobody."""
    attempts = private_places(node, pair["bob"])
    outcomes = intrude(0, uid_of(pair["alice"]), attempts)
    reached = [one for one, outcome in zip(attempts, outcomes, strict=True) if outcome == "done"]
    assert reached == []


def test_a_script_reads_no_file_of_the_system(node: TestNode) -> None:
    source = """
import fs from "node:fs";
export default { fetch() {
  const seen = {};
  for (const path of ["/etc/passwd", "/cell.bin", "/doors/egress.sock", "/proc/self/exe"])
    try { seen[path] = fs.readFileSync(path, "latin1").length } catch (error) { seen[path] = null }
  return Response.json(seen);
} };"""
    bundle = Bundle(source, compatibility_flags=["nodejs_compat"])
    deploy_for(node, "reader", bundle, ALICE)
    assert set(node.visit("reader").json().values()) == {None}


def test_a_decrypted_config_is_in_no_file(node: TestNode, pair: dict[str, int]) -> None:
    paths = NodePaths.of(node.folder)
    for folder in (paths.root, paths.doors):
        for path in folder.rglob("*"):
            if path.is_file():
                assert SECRET.encode() not in path.read_bytes(), path
    for pid in node.pids(""):
        for what in ("cmdline", "environ"):
            assert SECRET.encode() not in Path(f"/proc/{pid}/{what}").read_bytes()


def environment_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(line.split("=", 1) for line in lines if line)


def test_the_runtimes_own_environment_comes_through(pair: dict[str, int]) -> None:
    assert environment_of(pair["alice"]).items() >= ENVIRONMENT.items()


def test_the_control_plane_and_the_status_are_told(node: TestNode) -> None:
    assert node.status()["sandbox"] == "full"
    until(lambda: node.enrolled.reports, what="a report")
    assert node.enrolled.reports[-1]["sandbox"] == "full"


def test_users_stay_after_a_restart(gateway: Gateway, folder: Path) -> None:
    with running_node(gateway, folder, "users") as node:
        deploy_for(node, "alice", Bundle(answering("alice")), ALICE)
        deploy_for(node, "bob", Bundle(answering("bob")), BOB)
        before = {pid: uid_of(pid) for pid in node.pids("cell:")}
        outer = node.pids("sandbox:")
        assert len(outer) == 2
        node.kill_agent()
        node.start()
        assert {pid: uid_of(pid) for pid in node.pids("cell:")} == before
        node.deploy("alice", None)
        until(lambda: len(node.pids("cell:")) == 1, what="alice's cell is gone")
        deploy_for(node, "carol", Bundle(answering("carol")), "c" * 32)
        users = {uid_of(pid) for pid in node.pids("cell:")}
        assert max(users) > max(before.values())


def test_outer_process_killed_takes_the_cell_with_it(gateway: Gateway, folder: Path) -> None:
    with running_node(gateway, folder, "outer") as node:
        node.deploy("one", Bundle(answering("one")))
        (before,), (outer,) = node.pids("cell:"), node.pids("sandbox:")
        os.kill(outer, 9)
        until(lambda: node.pids("cell:") == [], what="it is gone")
        assert node.visit("one").text == "one"
        assert node.pids("cell:") != [before]
        assert len(node.pids("cell:")) == len(node.pids("sandbox:")) == 1
        done = node.stop()
        assert done.returncode == 0, done.stderr
        assert list(node.processes()) == []
        assert not NodePaths.of(node.folder).doors.exists()


class OrdinaryNode(TestNode):
    """Its agent is not root, as far as it can tell."""

    def command(self) -> list[str]:
        return ["unshare", "--user", "--map-user=12345", "--map-group=12345", *super().command()]


def test_without_root_namespaces_are_left(gateway: Gateway, folder: Path) -> None:
    with running(OrdinaryNode(gateway, folder, "ordinary", {})) as node:
        node.deploy("one", Bundle(answering("one")))
        assert node.status()["sandbox"] == "namespaces"
        assert len(node.events("cells_share_a_user")) == 1
        (pid,) = node.pids("cell:")
        agent = agent_pid(node)
        for kind in ("net", "pid", "mnt", "ipc"):
            assert os.readlink(f"/proc/{pid}/ns/{kind}") != os.readlink(f"/proc/{agent}/ns/{kind}")
        assert "etc" not in os.listdir(f"/proc/{pid}/root")
        assert status_of(pid)["CapEff"] == ["0000000000000000"]
        os.kill(pid, 9)
        until(lambda: node.pids("cell:") == [], what="it is gone")
        assert node.visit("one").text == "one"
        assert node.pids("cell:") != [pid]


def test_switched_off_it_says_so(gateway: Gateway, folder: Path) -> None:
    with running_node(gateway, folder, "off", SKERRY_SANDBOX="off") as node:
        node.deploy("one", Bundle(answering("one")))
        assert node.visit("one").text == "one"
        assert node.status()["sandbox"] == "none"
        assert len(node.events("cells_not_sandboxed")) == 1
        assert node.pids("sandbox:") == []
        (pid,) = node.pids("cell:")
        assert os.readlink(f"/proc/{pid}/ns/mnt") == os.readlink("/proc/self/ns/mnt")
        assert environment_of(pid).items() >= ENVIRONMENT.items()


def test_a_checked_upload_is_sandboxed_too() -> None:
    """One that never ends its start, so that it can be looked at; nothing of it stays."""
    request = json.dumps(Bundle("while (true) {}").check_request())
    environ = {**os.environ, "SKERRY_CHECK_SECONDS": "3"}
    command = [sys.executable, "-m", "edge.check"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT, env=environ
    ) as check:
        assert check.stdin
        check.stdin.write(request)
        check.stdin.close()
        until(lambda: checked(check.pid), 5, "the script is being tried")
        for pid in checked(check.pid):
            assert uid_of(pid) == CHECK_UID
            assert os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net")
            assert "doors" not in os.listdir(f"/proc/{pid}/root")
        tried = checked(check.pid)
        assert check.stdout
        assert json.loads(check.stdout.read())["message"] == "Script startup exceeded time limit"
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in tried), what="it is ended")


def checked(check: int) -> list[int]:
    """The process two below the check: bubblewrap's, then workerd, by its command line."""
    outer = Path(f"/proc/{check}/task/{check}/children").read_text().split()
    inner = [
        int(child)
        for pid in outer
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    ]
    return [
        pid
        for pid in inner
        if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"/workerd\0serve")
    ]


def test_a_runtime_out_of_reach_is_copied(tmp_path: Path) -> None:
    """As in an installation below /root, where a cell's user cannot come."""
    real = find_runtime()
    hidden, doors = tmp_path / "hidden", Path(tempfile.mkdtemp(prefix="skerry-doors-"))
    hidden.mkdir(mode=0o700)
    doors.chmod(0o711)
    try:
        shutil.copy(real.workerd, hidden / "workerd")
        sandbox = find_sandbox(Runtime(hidden / "workerd", real.schema_dir), doors)
        assert (sandbox.level, sandbox.workerd.parent) == (Level.FULL, doors)
    finally:
        shutil.rmtree(doors)


@pytest.mark.parametrize("level", [Level.FULL, Level.NAMESPACES])
def test_levels_are_tried_out(level: Level, tmp_path: Path) -> None:
    sandbox = Sandbox(level, find_runtime().workerd.resolve())
    assert sandbox.works([]) == ""
    assert "missing" in sandbox.works(["--ro-bind", str(tmp_path / "missing"), "/missing"])
