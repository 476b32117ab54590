"""./skerry backup, restore and reset-password: everything wiped in between, and what is refused."""

import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.launcher.platform import Platform, eventually

pytestmark = [pytest.mark.platform, pytest.mark.xdist_group("backup")]

ANY_PORTS = ["--port", "0", "--http-port", "0", "--https-port", "0"]
MEMBER = {"email": "ada@example.org", "password": "correct horse battery"}
TELLS = "export default { fetch: (_, env) => new Response(env.SAID) }"


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    with tempfile.TemporaryDirectory(prefix="skerry-backup-") as folder:
        found = Platform(Path(folder).resolve() / "data", ANY_PORTS)
        printed = found.up()
        token = re.search(r"/setup\?token=(\S+)", printed)
        assert token is not None, printed
        with found.browser() as browser:
            done = browser.post("/setup", data={"token": token[1], **MEMBER})
            assert done.status_code == 303, done.text
        found.deploy("teller", TELLS)
        namespace = found.api("POST", "/storage/kv/namespaces", json={"title": "kept"})["id"]
        kv = f"/storage/kv/namespaces/{namespace}/values"
        found.api("PUT", f"{kv}/small", content=b"in a row")
        found.api("PUT", f"{kv}/large", content=b"in a file" * 10_000)
        secret = {"name": "SAID", "text": "a secret", "type": "secret_text"}
        found.api("PUT", "/workers/scripts/teller/secrets", json=secret)
        assert eventually(lambda: found.answer("teller") == "200 a secret")
        yield found
        found.down()
        assert found.everything() == []


def log_in(platform: Platform, password: str = MEMBER["password"]) -> int:
    with platform.browser() as browser:
        return browser.post("/login", data={**MEMBER, "password": password}).status_code


@pytest.fixture(scope="module")
def saved(platform: Platform) -> Path:
    """A backup of the running platform."""
    file = platform.folder.parent / "saved"
    done = platform.skerry("backup", str(file))
    assert done.returncode == 0, done.stderr
    return file


def entries(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


def test_a_backup_is_for_its_owner_only_and_replaces_nothing(
    platform: Platform, saved: Path
) -> None:
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    before = saved.read_bytes()
    done = platform.skerry("backup", str(saved))
    assert (done.returncode, done.stderr) == (
        1,
        f"skerry: {saved} exists already: choose another name.\n",
    )
    assert saved.read_bytes() == before
    assert entries(saved.parent) == {"data", "saved"}


def test_a_running_instance_is_not_replaced(platform: Platform, saved: Path) -> None:
    done = platform.skerry("restore", str(saved), "--force")
    assert done.returncode == 1
    assert "already runs" in done.stderr
    assert platform.answer("teller") == "200 a secret"


def test_all_is_wiped_and_comes_back(platform: Platform, saved: Path) -> None:
    before = platform.env()
    platform.deploy("later", TELLS)
    platform.down()
    shutil.rmtree(platform.folder)

    done = platform.skerry("restore", str(saved))
    assert done.returncode == 0, done.stderr
    assert f"./skerry up --data {platform.folder}" in done.stdout
    platform.up()

    # The token and the account that wrangler was given are still good, on the same ports.
    assert platform.env() == before
    assert eventually(lambda: platform.answer("teller") == "200 a secret")
    assert platform.answer("later").startswith("404")
    assert log_in(platform) == 303
    assert log_in(platform, "a guess that is wrong") == 422
    (namespace,) = platform.api("GET", "/storage/kv/namespaces")
    kv = f"/storage/kv/namespaces/{namespace['id']}"
    assert [key["name"] for key in platform.api("GET", f"{kv}/keys")] == ["large", "small"]
    values = platform.api("POST", f"{kv}/bulk/get", json={"keys": ["small", "large"]})["values"]
    assert values["small"]["value"] == "in a row"
    assert values["large"]["value"] == "in a file" * 10_000
    nodes = [(node["name"], node["state"]) for node in platform.status()["nodes"]]
    assert nodes == [("edge-1", "current")]
    # The node takes what is new, too.
    platform.deploy("teller")
    assert eventually(lambda: platform.answer("teller") == "200 kept")


def test_a_node_that_is_ahead_of_the_restored_database_follows_it(
    platform: Platform, saved: Path, tmp_path: Path
) -> None:
    for number in range(3):
        platform.deploy("teller", f"export default {{ fetch: () => new Response('{number}') }}")
    platform.deploy("orphan")
    assert eventually(lambda: platform.answer("orphan") == "200 kept")
    platform.down()
    # As on another machine: its agent's state is not in the backup and stays as it is.
    folder = platform.folder / "nodes/edge-1"
    for name in ("state.sqlite", "node.key"):
        shutil.copy(folder / name, tmp_path)
    done = platform.skerry("restore", str(saved), "--force")
    assert done.returncode == 0, done.stderr
    (replaced,) = platform.folder.parent.glob("data.before-restore-*")
    shutil.rmtree(replaced)
    for name in ("state.sqlite", "node.key"):
        shutil.copy(tmp_path / name, folder)
    platform.up()
    assert eventually(lambda: platform.answer("teller") == "200 a secret")
    assert eventually(lambda: platform.answer("orphan").startswith("404"))
    platform.deploy("orphan", TELLS.replace("env.SAID", "'again'"))
    assert eventually(lambda: platform.answer("orphan") == "200 again")


def test_a_forgotten_password_is_replaced(platform: Platform) -> None:
    with platform.browser() as browser:
        assert browser.post("/login", data=MEMBER).status_code == 303
        assert browser.get("/workers").status_code == 200
        done = platform.skerry("reset-password", "Ada@example.org", stdin="another long password\n")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == "ada@example.org has the new password and is logged out everywhere.\n"
        assert browser.get("/workers").status_code == 303
    assert log_in(platform) == 422
    assert log_in(platform, "another long password") == 303
    unknown = platform.skerry("reset-password", "nobody@example.org", stdin="another long one\n")
    assert (unknown.returncode, unknown.stderr) == (
        1,
        "skerry: Nobody here has the address nobody@example.org.\n",
    )


def test_a_stopped_instance_is_saved_and_replaced_only_when_told(
    platform: Platform, saved: Path
) -> None:
    platform.down()
    beside = platform.folder.parent
    try:
        stopped = beside / "stopped"
        done = platform.skerry("backup", str(stopped))
        assert done.returncode == 0, done.stderr

        refused = platform.skerry("restore", str(stopped))
        assert refused.returncode == 1
        assert "holds an instance already" in refused.stderr
        damaged = beside / "damaged"
        damaged.write_bytes(saved.read_bytes()[:-200])
        held = entries(platform.folder)
        refused = platform.skerry("restore", str(damaged), "--force")
        assert refused.returncode == 1
        assert "Nothing was changed." in refused.stderr
        assert entries(platform.folder) == held
        assert entries(beside) == {"data", "saved", "stopped", "damaged"}

        done = platform.skerry("restore", str(stopped), "--force")
        assert done.returncode == 0, done.stderr
        changed = platform.skerry("reset-password", MEMBER["email"], stdin="a third password\n")
        assert changed.returncode == 0, changed.stderr
        kept = re.search(r"What was there before is (\S+)\.\n", done.stdout)
        assert kept is not None, done.stdout
        assert entries(Path(kept[1])) >= {"config.json", "master.key", "postgres"}
    finally:
        platform.up()
    assert eventually(lambda: platform.answer("teller").startswith("200"))
    assert log_in(platform, "a third password") == 303
