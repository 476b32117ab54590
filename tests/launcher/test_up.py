"""./skerry up for real: started, looked at, killed in every way, started again, stopped."""

import os
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from launcher.children import LOG_LIMIT_BYTES
from launcher.paths import NODE_22, ROOT
from tests.launcher.platform import START_SECONDS, Platform, eventually

pytestmark = [pytest.mark.platform, pytest.mark.xdist_group("platform")]

ANY_PORTS = ["--port", "0", "--http-port", "0", "--https-port", "0"]


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    with tempfile.TemporaryDirectory(prefix="skerry-up-") as folder:
        found = Platform(Path(folder).resolve() / "data", ANY_PORTS)
        found.up()
        yield found
        found.down()
        assert found.everything() == []


def test_every_process_runs_and_the_node_is_current(platform: Platform) -> None:
    status = platform.status()
    assert status["state"] == "running"
    running = {process["name"] for process in status["processes"] if process["state"] == "running"}
    assert running >= {
        "supervisor",
        "postgres",
        "valkey",
        "control",
        "worker",
        "beat",
        "edge-1-agent",
    }
    assert running >= {"edge-1-keeper", "edge-1-front"}
    assert all(process["memory_bytes"] > 0 for process in status["processes"])
    assert [(node["name"], node["state"]) for node in status["nodes"]] == [("edge-1", "current")]


def test_secrets_are_readable_by_their_owner_only(platform: Platform) -> None:
    for name in ("config.json", "api-token", "master.key"):
        assert stat.S_IMODE((platform.folder / name).stat().st_mode) == 0o600, name
    assert stat.S_IMODE((platform.folder / "logs").stat().st_mode) == 0o700


def test_one_port_has_the_api_and_the_dashboard(platform: Platform) -> None:
    env = platform.env()
    with httpx2.Client(trust_env=False, timeout=20, follow_redirects=False) as client:
        site = f"http://127.0.0.1:{platform.ports()['control']}"
        assert client.get(f"{site}/openapi.json").json()["info"]["title"] == "Skerry"
        assert client.get(f"{env['CLOUDFLARE_API_BASE_URL']}/user").status_code in (401, 403)
        assert client.get(f"{site}/docs").status_code == 200
        assert client.get(f"{site}/login").status_code in (200, 303)


def test_everything_listens_on_loopback_only(platform: Platform) -> None:
    wanted = {f"{port:04X}" for port in platform.ports().values()}
    lines = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    listening = {
        line[1] for line in lines if line[3] == "0A" and line[1].rpartition(":")[2] in wanted
    }
    assert len(listening) == len(wanted)
    assert {address.partition(":")[0] for address in listening} == {"0100007F"}


def test_a_second_up_refuses(platform: Platform) -> None:
    done = platform.skerry("up", "--detach")
    assert done.returncode == 1
    assert done.stderr.startswith("skerry: Skerry already runs on")


def test_url_prints_where_a_script_answers(platform: Platform) -> None:
    platform.deploy("kept")
    done = platform.skerry("url", "kept")
    assert done.stdout == f"http://kept.dev.localhost:{platform.ports()['edge-1.http']}\n"
    assert platform.answer("kept") == "200 kept"
    unknown = platform.skerry("url", "unknown")
    assert unknown.returncode == 1
    assert "does not exist" in unknown.stderr


def test_parts_that_are_killed_come_back_while_visitors_are_served(platform: Platform) -> None:
    platform.deploy("kept")
    before = {p["name"]: p["pid"] for p in platform.status()["processes"]}
    platform.kill("postgres", "valkey", "control", "worker", "beat", "edge-1-agent")
    assert platform.answer("kept") == "200 kept"

    def all_new() -> bool:
        now = {
            p["name"]: p["pid"] for p in platform.status()["processes"] if p["state"] == "running"
        }
        names = ("postgres", "valkey", "control", "worker", "beat", "edge-1-agent")
        return all(now.get(name, before[name]) != before[name] for name in names)

    assert eventually(all_new)
    assert eventually(platform.healthy)
    assert eventually(
        lambda: [node["state"] for node in platform.status()["nodes"]] == ["current"], 120
    )
    platform.deploy("after")
    assert eventually(lambda: platform.answer("after") == "200 kept", 30)


def test_https_is_trusted_by_whoever_trusts_the_instance(platform: Platform) -> None:
    platform.deploy("kept")
    host, port = "kept.dev.localhost", platform.ports()["edge-1.https"]
    ca = platform.env()["NODE_EXTRA_CA_CERTS"]
    curl = ["curl", "--silent", "--show-error", "--noproxy", "*",
            "--resolve", f"{host}:{port}:127.0.0.1", f"https://{host}:{port}/"]  # fmt: skip
    trusting = subprocess.run([*curl, "--cacert", ca], capture_output=True, text=True, check=False)
    assert (trusting.stdout, trusting.stderr) == ("kept", "")
    doubting = subprocess.run(curl, capture_output=True, text=True, check=False)
    assert (doubting.returncode, doubting.stdout) == (60, "")

    asking = f"""require("https").get(
        {{host: "127.0.0.1", port: {port}, servername: "{host}", headers: {{host: "{host}"}}}},
        (answer) => answer.pipe(process.stdout))"""
    node = subprocess.run(
        [NODE_22, "-e", asking], env={"NODE_EXTRA_CA_CERTS": ca},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (node.stdout, node.stderr) == ("kept", "")


def test_a_long_log_is_cut_while_its_program_runs(platform: Platform) -> None:
    log = platform.folder / "logs" / "control.log"
    before = _process_of(platform, "control")
    with log.open("ab") as file:
        file.write(b"x" * (LOG_LIMIT_BYTES + 1))
    assert eventually(lambda: log.stat().st_size < LOG_LIMIT_BYTES, 30)
    assert log.with_suffix(".log.1").stat().st_size > LOG_LIMIT_BYTES
    # The same process goes on, at the beginning of the file.
    platform.deploy("logged")
    assert eventually(lambda: b"logged" in log.read_bytes(), 30)
    assert b"\0" not in log.read_bytes()
    assert _process_of(platform, "control") == before


def _process_of(platform: Platform, name: str) -> int:
    found: int = next(p["pid"] for p in platform.status()["processes"] if p["name"] == name)
    return found


def test_everything_is_killed_and_nothing_is_lost(platform: Platform) -> None:
    platform.deploy("kept")
    before, ports = platform.env(), platform.ports()
    platform.kill_everything()
    assert platform.status()["state"] == "stopped"
    platform.up()
    assert platform.env() == before
    assert platform.ports() == ports
    assert platform.answer("kept") == "200 kept"


def test_a_supervisor_that_is_killed_alone_is_replaced(platform: Platform) -> None:
    platform.deploy("kept")
    platform.kill("supervisor")
    assert platform.answer("kept") == "200 kept"
    assert "Ended the processes that an earlier run left behind." in platform.up()
    assert platform.answer("kept") == "200 kept"


def test_a_second_instance_with_two_nodes_runs_beside_the_first(
    platform: Platform, tmp_path: Path
) -> None:
    second = Platform(tmp_path / "second", [*ANY_PORTS, "--nodes", "2"])
    try:
        printed = second.up()
        assert "/setup?token=" in printed
        assert not set(second.ports().values()) & set(platform.ports().values())
        second.deploy("elsewhere")
        ports = second.ports()
        assert second.answer("elsewhere", ports["edge-1.http"]) == "200 kept"
        assert eventually(
            lambda: second.answer("elsewhere", ports["edge-2.http"]) == "200 kept", 30
        )
        assert platform.answer("elsewhere").startswith("404")
    finally:
        second.down()
    assert second.everything() == []
    assert platform.healthy()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_foreground_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    found = Platform(tmp_path / "data")
    own = {
        name: value
        for name, value in os.environ.items()
        if name not in ("DATABASE_URL", "REDIS_URL")
    }
    with subprocess.Popen(
        [str(ROOT / "skerry"), "up", *ANY_PORTS, "--data", str(found.folder)],
        env=own, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            if "Stop  " in line:
                break
        process.send_signal(number)
        rest, _ = process.communicate(timeout=START_SECONDS)
        assert process.returncode == 0, rest
        assert "Traceback" not in rest
    assert found.everything() == []
    log = (found.folder / "logs" / "postgres.log").read_text()
    assert "database system is shut down" in log
