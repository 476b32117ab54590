"""docker-compose.yml and its images against the launcher: no Docker engine is at hand, so they are read, not run."""

import ast
import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge.agent.settings import read_settings
from launcher import nodes, ports, postgres, programs, valkey
from launcher.config import Config
from launcher.control import PARTS
from launcher.paths import ROOT, DataDirectory
from launcher.programs import Instance

OURS = ("api", "dashboard", "edge", "gallery", "launcher", "migrations", "worker")
# Only one worker runs under ./skerry, which may save its wait for others.
ALONE = {"--without-mingle", "--without-gossip"}


@pytest.fixture(scope="module")
def compose() -> Any:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Instance:
    """One with the default ports, on its own servers."""
    for name in ("DATABASE_URL", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    config = Config(nodes=2)
    config.ports = {wish.name: wish.default or 1 for wish in ports.wishes(config)}
    return Instance(config, DataDirectory(tmp_path))


def service(compose: Any, name: str) -> Any:
    return compose["services"][name]


def dockerfile(compose: Any, name: str) -> Path:
    path = ROOT / service(compose, name)["build"]["dockerfile"]
    assert path.is_file()
    return path


def instructions(file: Path, word: str) -> list[str]:
    text = file.read_text().replace("\\\n", " ")
    return [line.removeprefix(word).strip() for line in text.splitlines() if line.startswith(word)]


def celery(command: list[str]) -> list[str]:
    """From the word `celery` on, without what differs on purpose: where beat keeps its schedule."""
    words = [word for word in command[command.index("celery") :] if word not in ALONE]
    return [word for word in words if not word.endswith("beat-schedule")]


def test_the_services_are_those_of_the_launcher(compose: Any) -> None:
    assert set(compose["services"]) == {
        "postgres", "redis", "prepare", "api", "dashboard", "worker", "beat", "edge-1", "edge-2",
    }  # fmt: skip


def test_control_plane_parts(compose: Any) -> None:
    started = [service(compose, name)["command"] for name in ("api", "dashboard")]
    assert all(command[:3] == ["python", "-m", "launcher.control"] for command in started)
    assert sorted(part for command in started for part in command[3:]) == sorted(PARTS)


@pytest.mark.parametrize("name", ["worker", "beat"])
def test_background_commands(compose: Any, instance: Instance, name: str) -> None:
    program = next(found for found in programs.background(instance) if found.name == name)
    assert celery(service(compose, name)["command"]) == celery(program.command)


def test_settings_are_those_of_the_launcher(compose: Any, instance: Instance) -> None:
    # The runtime is where its default is, in the images too.
    wanted = programs.settings(instance).keys() - programs.runtime_settings().keys()
    for name in ("prepare", "api", "dashboard", "worker", "beat"):
        assert service(compose, name)["environment"].keys() == wanted, name


def test_ports(compose: Any) -> None:
    environment = service(compose, "api")["environment"]
    assert int(environment["SKERRY_PORT"]) == ports.DEFAULT_CONTROL
    assert int(environment["SKERRY_GATEWAY_PORT"]) == ports.DEFAULT_GATEWAY
    api = instructions(dockerfile(compose, "api"), "EXPOSE")
    assert api == [f"{ports.DEFAULT_CONTROL} {ports.DEFAULT_GATEWAY}"]
    edge = instructions(dockerfile(compose, "edge-1"), "EXPOSE")
    assert edge == [f"{ports.DEFAULT_HTTP} {ports.DEFAULT_HTTPS} {ports.DEFAULT_AGENT}"]
    for number in (0, 1):
        http, https = ports.DEFAULT_HTTP, ports.DEFAULT_HTTPS
        assert service(compose, f"edge-{number + 1}")["ports"] == [
            f"127.0.0.1:{http + number}:{http}",
            f"127.0.0.1:{https + number}:{https}",
        ]


def test_the_address_that_people_read_is_the_dashboards(compose: Any) -> None:
    published, inside = service(compose, "dashboard")["ports"][0].rsplit(":", 1)
    assert inside == service(compose, "dashboard")["environment"]["SKERRY_PORT"]
    public = service(compose, "api")["environment"]["SKERRY_PUBLIC_URL"]
    assert public == f"${{SKERRY_PUBLIC_URL:-http://{published}}}"
    assert f" http://{published}/setup?token=" in (ROOT / "docker-compose.yml").read_text()


def test_nothing_is_published_beyond_this_machine(compose: Any) -> None:
    for name, found in compose["services"].items():
        assert all(port.startswith("127.0.0.1:") for port in found.get("ports", [])), name


def test_an_agent_is_started_as_the_launcher_does(compose: Any, instance: Instance) -> None:
    (command,) = instructions(dockerfile(compose, "edge-1"), "CMD")
    words = shlex.split(json.loads(command)[2])
    assert words[:4] == ["exec", "python", "-m", "edge.agent"]
    flags = {word for word in words if word.startswith("--")}
    own = {word for word in nodes.agent(instance, "edge-1", "t").command if word.startswith("--")}
    # A container's address is not the one that it binds, and nothing of it outlives it.
    assert flags == own | {"--advertise", "--stop-all-on-exit"}
    settings = read_settings(words[4:], {})
    assert (settings.http_port, settings.https_port) == (ports.DEFAULT_HTTP, ports.DEFAULT_HTTPS)
    assert settings.agent_port == ports.DEFAULT_AGENT


def test_the_preparation_is_the_launchers(compose: Any) -> None:
    script = service(compose, "prepare")["command"][2]
    asked = re.findall(r"python -m (api\.admin [a-z-]+|alembic -c \S+ upgrade head)", script)
    assert asked == [
        "alembic -c migrations/alembic.ini upgrade head",
        "api.admin bootstrap",
        "api.admin join-token",
    ]
    edges = re.search(r"for node in (.+); do", script)
    assert edges is not None
    assert edges[1].split() == ports.node_names(2)


@pytest.mark.parametrize("name", ["api", "worker", "edge-1"])
def test_an_image_has_all_that_its_code_imports(compose: Any, name: str) -> None:
    file = dockerfile(compose, name)
    copied = {
        line.split()[0] for line in instructions(file.resolve(), "COPY") if "--from" not in line
    }
    missing = [source for source in copied if not (ROOT / source).exists()]
    assert missing == []
    # What the last stage has: a stage before it may have copied something for itself.
    last = file.read_text().rpartition("\nFROM ")[2]
    here = {name for name in OURS if f"COPY {name} {name}" in last}
    wanted = {
        module
        for package in here
        for path in (ROOT / package).rglob("*.py")
        for module in _imported(path)
    }
    assert wanted & set(OURS) <= here


def _imported(path: Path) -> set[str]:
    """The first words of everything that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


def test_images_have_the_versions_that_the_tests_run(compose: Any) -> None:
    def version(program: Path) -> str:
        return subprocess.run(
            [program, "--version"], capture_output=True, text=True, check=True
        ).stdout

    image = service(compose, "postgres")["image"].removeprefix("postgres:")
    assert f"(PostgreSQL) {image}." in version(postgres.binaries() / "postgres")
    image = service(compose, "redis")["image"].removeprefix("valkey/valkey:")
    assert re.search(rf"\bv={image}\.", version(valkey.binary()))
    for name in ("api", "worker", "edge-1"):
        bases = {line.split()[0] for line in instructions(dockerfile(compose, name), "FROM")}
        assert bases <= {"node:22-slim", "python:3.11-slim"}


def test_whoever_reads_them_is_told_that_they_never_ran(compose: Any) -> None:
    assert "no Docker engine was available" in (ROOT / "docker-compose.yml").read_text()
    for name in ("api", "worker", "edge-1"):
        assert "Not built where it was written" in dockerfile(compose, name).read_text()
    assert re.search(r"docker-compose\.yml.*never run", (ROOT / "README.md").read_text())


def test_a_stop_gives_nodes_the_time_that_the_launcher_gives(compose: Any) -> None:
    for name in ports.node_names(2):
        grace = service(compose, name)["stop_grace_period"]
        assert int(grace.removesuffix("s")) >= nodes.STOP_SECONDS
