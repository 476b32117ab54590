"""The code of before makes an instance with data, the code of now goes on with it.

"Before" is the commit before the newest one that changed how something is stored, so that migrations really run. Its
code runs on the packages of now: what it stores is the question here, not what it is installed with.
"""

import json
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from launcher.paths import NODE_22, NODE_MODULES, ROOT
from tests.launcher.platform import Platform, eventually

pytestmark = [pytest.mark.platform, pytest.mark.xdist_group("platform")]

STORED = ("migrations/versions", "edge/agent/state.py", "launcher/config.py")
ANY_PORTS = ["--port", "0", "--http-port", "0", "--https-port", "0"]
MEMBER = {"email": "ada@example.org", "password": "correct horse battery"}
SAYS = "export default { fetch: (_, env) => new Response(`${env.SAID}%s`) }"


def git(*arguments: str) -> str:
    """What git prints; empty where it cannot, as outside of a clone or below its depth."""
    done = subprocess.run(
        ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else ""


def commit_before() -> str:
    changed = git("log", "-1", "--first-parent", "--format=%H", "--", *STORED)
    return git("rev-parse", "--verify", "--quiet", f"{changed}^1") if changed else ""


@pytest.fixture
def before() -> Iterator[Path]:
    """A checkout of the code of before, on the packages of this one."""
    commit = commit_before()
    if not commit:
        pytest.skip("this is no clone, or one without the commits before")
    with tempfile.TemporaryDirectory(prefix="skerry-before-") as name:
        folder = Path(name).resolve()
        archive = folder / "code.tar"
        git("archive", "--output", str(archive), commit)
        with tarfile.open(archive) as code:
            code.extractall(folder / "code", filter="data")
        checkout = folder / "code"
        for linked in (ROOT / ".venv", NODE_MODULES):
            (checkout / linked.name).symlink_to(linked.resolve())
        # With its own ones it would install its own packages, into what this checkout runs on.
        for lock in ("requirements.lock", "requirements-dev.lock", "package-lock.json"):
            (checkout / lock).write_bytes((ROOT / lock).read_bytes())
        # Nobody opens its gallery: without this there is nothing to bundle.
        (checkout / "gallery" / "build.py").unlink()
        yield checkout


def wrangler_deploys(platform: Platform, folder: Path, name: str, module: str) -> None:
    """The unmodified wrangler, with what `./skerry env` prints and nothing else."""
    config = {"name": name, "main": "index.js", "compatibility_date": "2026-01-01"}
    (folder / "wrangler.json").write_text(json.dumps(config))
    (folder / "index.js").write_text(module)
    program = NODE_MODULES / "wrangler" / "bin" / "wrangler.js"
    done = subprocess.run(
        [NODE_22, program, "deploy"], cwd=folder, env={**platform.env(), "HOME": str(folder)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def versions(platform: Platform, name: str) -> list[str]:
    env = platform.env()
    account = f"{env['CLOUDFLARE_API_BASE_URL']}/accounts/{env['CLOUDFLARE_ACCOUNT_ID']}"
    answer: dict[str, Any] = httpx2.get(
        f"{account}/workers/scripts/{name}/versions",
        headers={"Authorization": f"Bearer {env['CLOUDFLARE_API_TOKEN']}"},
        timeout=30,
        trust_env=False,
    ).json()
    return [version["id"] for version in answer["result"]["items"]]


def identity(platform: Platform) -> dict[str, str]:
    """What a wrangler somewhere else was told."""
    env = platform.env()
    return {name: env[name] for name in sorted(env) if re.match(r"CLOUDFLARE_(A|BASE)", name)}


def test_the_next_version_goes_on_with_all_that_was_there(before: Path, tmp_path: Path) -> None:
    old = Platform(before.parent / "data", ANY_PORTS, before)
    new = Platform(old.folder, ANY_PORTS)
    try:
        token = re.search(r"/setup\?token=(\S+)", old.up())
        assert token is not None
        with old.browser() as browser:
            assert browser.post("/setup", data={"token": token[1], **MEMBER}).status_code == 303
        old.deploy("teller", SAYS % " of before")
        secret = {"name": "SAID", "text": "a secret", "type": "secret_text"}
        old.api("PUT", "/workers/scripts/teller/secrets", json=secret)
        assert eventually(lambda: old.answer("teller") == "200 a secret of before")
        known, ports, there = identity(old), old.ports(), versions(old, "teller")
        old.down()

        new.up()
        assert (identity(new), new.ports(), versions(new, "teller")) == (known, ports, there)
        assert new.answer("teller") == "200 a secret of before"
        assert [(node["name"], node["state"]) for node in new.status()["nodes"]] == [
            ("edge-1", "current")
        ]
        with new.browser() as browser:
            assert browser.post("/login", data=MEMBER).status_code == 303
        wrangler_deploys(new, tmp_path, "teller", SAYS % " of now")
        assert eventually(lambda: new.answer("teller") == "200 a secret of now")
        assert versions(new, "teller")[1:] == there
    finally:
        new.down()
    assert new.everything() == []
