"""The first hour of somebody who reads the documentation: a fresh instance without any flag, and every page followed.

The pages' `skerry` is the checkout's, with a data directory of the test's own. Their `npm install` takes the packages from
the checkout, so that no test waits for a registry; everything else is the real thing.
"""

import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import pytest

from launcher.paths import NODE_MODULES, ROOT
from tests.docs.following import Reader
from tests.launcher.platform import START_SECONDS, Platform
from tests.platform import clean_environment

pytestmark = [pytest.mark.platform, pytest.mark.xdist_group("docs")]

DOCS = ROOT / "docs"
NPM = """#!/bin/sh
# What `npm install` would bring is there already; a package that is not ends the test.
[ "$1" = install ] || exec {npm} "$@"
ln -sfn {modules} node_modules
shift
for word; do case $word in -*) ;; *) test -d "node_modules/$word" || exit 1 ;; esac; done
"""


def may_listen(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


# Asked before the instance takes them.
STANDARD_PORTS = may_listen(80) and may_listen(443)


@pytest.fixture(scope="module")
def desk() -> Iterator[Path]:
    """A folder with what the pages expect: the checkout in `skerry/`, and programs."""
    with tempfile.TemporaryDirectory(prefix="skerry-docs-") as name:
        folder = Path(name).resolve()
        for place in ("skerry", "bin", "home"):
            (folder / place).mkdir()
        write_program(
            folder / "skerry" / "skerry",
            f'#!/bin/sh\nexec {ROOT}/skerry "$@" --data {folder}/data\n',
        )
        # A terminal has no progress meter among what curl prints.
        (folder / "home" / ".curlrc").write_text("silent\nshow-error\n")
        npm = shutil.which("npm")
        write_program(folder / "bin" / "npm", NPM.format(npm=npm, modules=NODE_MODULES))
        yield folder
        Platform(folder / "data").down()
        assert Platform(folder / "data").everything() == []


def write_program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def reader(desk: Path) -> Reader:
    own = {
        "PATH": f"{desk / 'bin'}:{os.environ['PATH']}",
        "HOME": str(desk / "home"),
        "XDG_CONFIG_HOME": str(desk / "home"),
        "WRANGLER_CACHE_DIR": str(desk / "home" / "cache"),
        # Nothing answers there: what asks for a newer version gives up at once.
        "npm_config_registry": "http://127.0.0.1:9/",
        "no_proxy": "*",
    }
    return Reader(desk, {**clean_environment(), **own})


def test_the_tutorial_is_followed(reader: Reader) -> None:
    reader.follow(DOCS / "tutorial.md")
    assert reader.files.count("src/index.ts") == 4
    assert {"npm run dev", "npm run deploy", "npm install hono"} <= set(reader.commands)


def test_a_worker_is_moved_from_cloudflare(desk: Path, reader: Reader) -> None:
    shop = desk / "shop"
    (shop / "src").mkdir(parents=True)
    reader.folder = shop
    own = f"{desk / 'skerry'}:{reader.environment['PATH']}"
    reader.environment = {**reader.environment, "PATH": own}
    # Somebody who has a project has its packages, too.
    (shop / "node_modules").symlink_to(NODE_MODULES)
    reader.follow(DOCS / "moving-from-cloudflare.md")
    assert "npx wrangler secret bulk secrets.env" in reader.commands
    assert any("rollback" in command for command in reader.commands)


@pytest.mark.skipif(not STANDARD_PORTS, reason="the ports 80 and 443 are not free for this user")
def test_visitors_get_the_ports_that_urls_without_one_mean(desk: Path) -> None:
    platform = Platform(desk / "data")
    platform.deploy("plain")
    assert platform.skerry("url", "plain").stdout == "http://plain.dev.localhost\n"
    assert platform.skerry("url", "--https", "plain").stdout == "https://plain.dev.localhost\n"
    assert platform.status()["urls"]["live"] == "http://NAME.dev.localhost"
    ca = str(desk / "data" / "certificates" / "ca.pem")
    for url in ("http://plain.dev.localhost", "https://plain.dev.localhost"):
        told = subprocess.run(
            ["curl", "--silent", "--show-error", "--noproxy", "*", "--cacert", ca, url],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (told.stdout, told.stderr) == ("kept", "")
    doctor = platform.skerry("doctor").stdout
    assert re.search(r"^ok +https +port 443 answers as any\.dev\.localhost$", doctor, re.M)


def test_a_second_instance_leaves_them_and_says_so(desk: Path, tmp_path: Path) -> None:
    first = Platform(desk / "data").ports()
    second = Platform(tmp_path / "second")
    with subprocess.Popen(
        [ROOT / "skerry", "up", "--data", str(second.folder)],
        env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            lines = (line for line in process.stdout if not line.startswith("Setting up"))
            noted = list(takewhile(lambda line: line.startswith("  Port "), lines))
        finally:
            process.terminate()
            process.wait(START_SECONDS)
    moved = dict(re.findall(r"Port (\d+) is taken: .* is on (\d+)\.", "".join(noted)))
    assert moved.keys() >= {"8700", "8701", "8710"}
    if STANDARD_PORTS:
        assert {moved["80"], moved["443"]} == {
            str(second.ports()[name]) for name in ("edge-1.http", "edge-1.https")
        }
    assert second.everything() == []
    assert not set(first.values()) & set(second.ports().values())
