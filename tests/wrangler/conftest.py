"""Real wranglers in folders of their own, against the platform as `./skerry up` starts it."""

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.platform import ROOT, Platform, platform as platform

# node 22 comes from `./skerry env`; the oldest runs on the machine's own node.
WRANGLERS = {"3.114": "wrangler-3", "4.86": "wrangler-4-86", "4.164": "wrangler"}
OLDEST, NEWEST = "3.114", "4.164"
COMMAND_SECONDS = 90
COMPILED = ROOT / "build" / "node-compile-cache"
COMPATIBILITY_DATE = "2026-01-01"
VERSION_ID = re.compile(r"Version ID:\s+([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Said:
    """What a command printed on both streams, and its exit status."""

    status: int
    text: str

    def __contains__(self, words: str) -> bool:
        return words in self.text

    @property
    def version_id(self) -> str:
        """The id of the version that the command made or deployed."""
        found = VERSION_ID.search(self.text)
        assert found, self.text
        return found[1]


@dataclass
class Wrangler:
    """One wrangler, unmodified, with nothing of this machine's user in its environment."""

    version: str
    folder: Path
    """The project in which commands run."""
    environment: dict[str, str] = field(repr=False)

    def run(self, *arguments: str, stdin: str = "", **environment: str) -> Said:
        """Run a command. There is no terminal, so wrangler answers its own questions."""
        program = ROOT / "node_modules" / WRANGLERS[self.version] / "bin" / "wrangler.js"
        variables = {**self.environment, **environment}
        done = subprocess.run(
            [shutil.which("node", path=variables["PATH"]) or "node", program, *arguments],
            cwd=self.folder,
            env=variables,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=COMMAND_SECONDS,
            text=True,
            check=False,
        )
        return Said(done.returncode, COLOUR.sub("", done.stdout))

    def __call__(self, *arguments: str, stdin: str = "") -> Said:
        """Run a command that has to succeed."""
        said = self.run(*arguments, stdin=stdin)
        assert said.status == 0, f"wrangler {self.version} {' '.join(arguments)}:\n{said.text}"
        return said

    def refused(self, *arguments: str, **environment: str) -> Said:
        """Run a command that has to fail."""
        said = self.run(*arguments, **environment)
        assert said.status != 0, f"wrangler {self.version} {' '.join(arguments)}:\n{said.text}"
        return said


@dataclass
class Project:
    """A Workers project in a folder, and the script that it deploys."""

    name: str
    folder: Path
    platform: Platform

    def configure(self, **config: Any) -> None:
        """Write its configuration; `name`, `main` and a date are given, None leaves one out."""
        config = {
            "name": self.name,
            "main": "index.js",
            "compatibility_date": COMPATIBILITY_DATE,
            **config,
        }
        given = {key: value for key, value in config.items() if value is not None}
        self.write({"wrangler.json": json.dumps(given)})

    def write(self, files: dict[str, str | bytes]) -> None:
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)

    def answer_with(self, text: str) -> None:
        """Write a script that answers every request with this text."""
        self.write({"index.js": f"export default {{ fetch: () => new Response({text!r}) }};\n"})

    @property
    def hostname(self) -> str:
        return self.platform.hostname(self.name)

    @property
    def path(self) -> str:
        """The script in the API, below the account."""
        return f"workers/scripts/{self.name}"

    def versions(self) -> list[dict[str, Any]]:
        """Its versions, newest first."""
        found: list[dict[str, Any]] = self.platform.api.result("GET", f"{self.path}/versions")[
            "items"
        ]
        return found

    def is_not_there(self) -> None:
        """Assert that the account has no script of this name."""
        refusal = self.platform.api.refusal("GET", f"workers/services/{self.name}")
        assert refusal[:2] == (404, 10007)

    def answers(self, text: str) -> None:
        """Assert what the live URL says."""
        self.platform.answers(self.hostname, text)


@pytest.fixture
def project(platform: Platform, tmp_path: Path, request: pytest.FixtureRequest) -> Project:
    """A project that deploys a script named after the test."""
    folder = tmp_path / "project"
    folder.mkdir()
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_"))[:40].strip("-")
    made = Project(name, folder, platform)
    made.configure()
    return made


def _wrangler(version: str, project: Project, home: Path) -> Wrangler:
    variables = project.platform.variables
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "WRANGLER_CACHE_DIR": str(home / "cache"),
        "NO_COLOR": "1",
        # Nothing answers there: the question whether there is a newer wrangler ends at once.
        "npm_config_registry": "http://127.0.0.1:9/",
        **{name: value for name, value in variables.items() if name != "PATH"},
    }
    if version != OLDEST:
        environment["PATH"] = variables.get("PATH", environment["PATH"])
        # A quarter of a command's time is the compiling of wrangler (node 20 knows no such cache).
        environment["NODE_COMPILE_CACHE"] = str(COMPILED)
    return Wrangler(version, project.folder, environment)


@pytest.fixture(params=WRANGLERS)
def wrangler(request: pytest.FixtureRequest, project: Project, tmp_path: Path) -> Wrangler:
    """Each of the three in turn."""
    return _wrangler(request.param, project, tmp_path)


@pytest.fixture
def newest(project: Project, tmp_path: Path) -> Wrangler:
    """For what does not depend on the wrangler's version."""
    return _wrangler(NEWEST, project, tmp_path)
