import json
import subprocess
from pathlib import Path

import pytest

from api.private_file import write_private
from launcher import cli, config, environment
from launcher.config import Config
from launcher.paths import NODE_22_BIN, DataDirectory
from launcher.programs import Instance

TOKEN = 'it\'s a $(touch /tmp/x) `token` "with" \\ everything'


@pytest.fixture
def instance(data: DataDirectory) -> Instance:
    found = Config(
        ports={"control": 8700, "edge-1.http": 8080}, account_id="0123456789abcdef0123456789abcdef"
    )
    config.save(found, data.config)
    write_private(data.api_token, TOKEN + "\n")
    return Instance(found, data)


def in_a_shell(exports: str) -> dict[str, str]:
    """What a POSIX shell makes of the lines."""
    done = subprocess.run(
        ["sh", "-c", 'eval "$EXPORTS"; unset EXPORTS; exec env -0'],
        env={"EXPORTS": exports, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(line.split("=", 1) for line in done.stdout.split("\0") if line)


def test_a_shell_reads_back_every_value(instance: Instance) -> None:
    found = in_a_shell(environment.exports(instance, (22, 12)))
    assert found.items() >= environment.variables(instance).items()
    assert found["CLOUDFLARE_API_TOKEN"] == TOKEN
    assert found["CLOUDFLARE_API_BASE_URL"] == "http://127.0.0.1:8700/client/v4"
    assert found["CLOUDFLARE_BASE_URL"] == found["CLOUDFLARE_API_BASE_URL"]
    assert found["CLOUDFLARE_ACCOUNT_ID"] == instance.config.account_id
    assert found["SKERRY_HTTP_PORT"] == "8080"
    assert found["WRANGLER_AUTH_DOMAIN"] == "127.0.0.1:8700"


def test_authorities_that_the_shell_has_already_stay(
    instance: Instance, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    instance.data.certificates.mkdir()
    instance.data.ca.write_text("ours\n")
    theirs = tmp_path / "proxy.pem"
    theirs.write_text("the proxy's")
    monkeypatch.setenv("NODE_EXTRA_CA_CERTS", str(theirs))
    both = environment.variables(instance)["NODE_EXTRA_CA_CERTS"]
    assert Path(both).read_text() == "the proxy's\nours\n"
    # Evaluated once more in the same shell.
    monkeypatch.setenv("NODE_EXTRA_CA_CERTS", both)
    assert environment.variables(instance)["NODE_EXTRA_CA_CERTS"] == both
    for nothing in ("", str(tmp_path / "gone.pem")):
        monkeypatch.setenv("NODE_EXTRA_CA_CERTS", nothing)
        assert environment.variables(instance)["NODE_EXTRA_CA_CERTS"] == str(instance.data.ca)


@pytest.mark.parametrize("version", [None, (20, 20), (22, 11)])
def test_an_old_or_missing_node_gets_ours_first_in_the_path(
    instance: Instance, version: tuple[int, ...] | None
) -> None:
    assert (
        in_a_shell(environment.exports(instance, version))["PATH"] == f"{NODE_22_BIN}:/usr/bin:/bin"
    )


@pytest.mark.parametrize("version", [(22, 12), (24, 0)])
def test_a_good_node_stays(instance: Instance, version: tuple[int, ...]) -> None:
    assert in_a_shell(environment.exports(instance, version))["PATH"] == "/usr/bin:/bin"


def test_the_bundled_node_is_good_enough() -> None:
    version = environment.node_version(str(NODE_22_BIN / "node"))
    assert version is not None
    assert version >= environment.OLDEST_NODE


def test_env_of_an_instance_that_never_ran_prints_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["env", "--data", str(tmp_path / "none")]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("skerry: Nothing was ever started on")


def test_url_of_an_instance_that_does_not_run_says_how_to_start_it(
    instance: Instance, capsys: pytest.CaptureFixture[str], free_port: int
) -> None:
    instance.config.ports["control"] = free_port
    config.save(instance.config, instance.data.config)
    assert cli.main(["url", "my-app", "--data", str(instance.data.path)]) == 1
    assert "does not answer: start it with ./skerry up --data" in capsys.readouterr().err


def test_status_of_an_instance_that_does_not_run(
    data: DataDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["status", "--json", "--data", str(data.path)]) == 3
    assert json.loads(capsys.readouterr().out) == {
        "data": str(data.path), "state": "stopped", "urls": {}, "processes": [], "nodes": [],
    }  # fmt: skip


def test_without_a_command_all_of_them_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    printed = capsys.readouterr()
    assert "\n    up  " in printed.out
    assert "\n    doctor  " in printed.out
    assert printed.err == ""
