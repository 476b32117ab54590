"""The whole platform, started once in a session as a user starts it: `./skerry up`.

Files that use the fixture `platform` say `pytestmark = pytest.mark.xdist_group("platform")`, or "wrangler" for those
that need no browser, so that all of a group run in one xdist worker and find the same instance.
"""

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.cast import Tenant
from tests.edge.nodes import free_port

ROOT = Path(__file__).resolve().parent.parent
# A busy machine with two cores takes half a minute for a first start.
UP_SECONDS = 180
DOWN_SECONDS = 90
# Of a client for plain HTTP, which would otherwise read a bundle of authorities each time: 25 ms of CPU.
NO_TLS = False
# A deploy returns when its nodes have acknowledged it, but waits five seconds at most.
SETTLE_SECONDS = 20


@dataclass
class Platform:
    """A running instance, from the outside."""

    data: Path
    setup_url: str
    """The dashboard's address with the one-time token that makes the administrator."""
    variables: dict[str, str] = field(repr=False)
    """What `eval "$(./skerry env)"` sets."""
    api: Tenant = field(repr=False)
    """The account, with the token of `./skerry env`."""
    aws_port: int = 0
    """Where it believes AWS to be; nobody answers before a test starts somebody (tests/aws)."""
    bindings_port: int = 0
    """Where functions would find their storage over TLS; the same."""

    @property
    def url(self) -> str:
        """The dashboard and the API, without a slash at the end."""
        return self.variables["CLOUDFLARE_API_BASE_URL"].removesuffix("/client/v4")

    @property
    def http_port(self) -> int:
        """Where the front answers plain HTTP."""
        return int(self.variables["SKERRY_HTTP_PORT"])

    def hostname(self, script: str) -> str:
        return f"{script}.{self.api.subdomain}.localhost"

    def get(self, hostname: str, path: str = "/", **arguments: Any) -> httpx2.Response:
        """A request through the front; the name goes into the Host header, as it need not resolve."""
        headers = {"Host": hostname, **arguments.pop("headers", {})}
        url = f"http://127.0.0.1:{self.http_port}{path}"
        return httpx2.get(
            url, headers=headers, trust_env=False, verify=NO_TLS, timeout=10, **arguments
        )

    def put(self, hostname: str, path: str, content: bytes) -> httpx2.Response:
        url = f"http://127.0.0.1:{self.http_port}{path}"
        headers = {"Host": hostname}
        return httpx2.put(
            url, headers=headers, content=content, trust_env=False, verify=NO_TLS, timeout=10
        )

    def answers(self, hostname: str, text: str, path: str = "/") -> None:
        """Assert what a script says, now or as soon as a busy machine gets to it."""
        answer = self._settled(hostname, path, lambda answer: answer.text == text)
        assert (answer.status_code, answer.text) == (200, text)

    def has_nothing_at(self, hostname: str, path: str = "/") -> None:
        """Assert that no script answers there, now or as soon as a busy machine gets to it."""
        answer = self._settled(hostname, path, lambda answer: answer.status_code == 404)
        assert answer.status_code == 404
        assert "nothing here" in answer.text

    def _settled(
        self, hostname: str, path: str, settled: Callable[[httpx2.Response], bool]
    ) -> httpx2.Response:
        deadline = time.monotonic() + SETTLE_SECONDS
        while not settled(answer := self.get(hostname, path)) and time.monotonic() < deadline:
            time.sleep(0.1)
        return answer

    def skerry(self, *arguments: str, timeout: float = 30) -> str:
        """The output of a command of the launcher, which has to succeed."""
        return skerry(self.data, *arguments, timeout=timeout)


# What this test run, or the person who started it, may have set for another instance.
FOREIGN = re.compile(r"(SKERRY|CLOUDFLARE|CF|WRANGLER|TEST|PYTEST)_.*|DATABASE_URL|REDIS_URL")


def clean_environment() -> dict[str, str]:
    """The environment of somebody who has nothing of ours set."""
    return {name: value for name, value in os.environ.items() if not FOREIGN.fullmatch(name)}


def skerry(
    data: Path,
    command: str,
    *arguments: str,
    timeout: float,
    settings: Mapping[str, str] | None = None,
) -> str:
    """The output of a command of the launcher, which has to succeed."""
    done = subprocess.run(
        [ROOT / "skerry", command, "--data", data, *arguments],
        env={**clean_environment(), **(settings or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"./skerry {command}:\n{done.stdout}"
    return done.stdout


def _shell(exports: str) -> dict[str, str]:
    """The environment of a shell that has evaluated the exports."""
    done = subprocess.run(
        ["/bin/sh", "-c", f"{exports}\nenv -0"],
        env=clean_environment(),
        capture_output=True,
        check=True,
        text=True,
    )
    pairs = (line.split("=", 1) for line in done.stdout.split("\0") if line)
    return dict(pairs)


def _exported(exports: str) -> dict[str, str]:
    before = _shell("")
    return {name: value for name, value in _shell(exports).items() if before.get(name) != value}


def start(data: Path, *flags: str, settings: Mapping[str, str] | None = None) -> Platform:
    """Start an instance on free ports; end it with `stop`."""
    ports = ["--port", "0", "--http-port", "0", "--https-port", "0"]
    said = skerry(data, "up", "--detach", *ports, *flags, timeout=UP_SECONDS, settings=settings)
    found = re.search(r"Dashboard\s+(http\S+)", said)
    assert found, said
    variables = _exported(skerry(data, "env", timeout=30))
    client = httpx2.Client(
        base_url=variables["CLOUDFLARE_API_BASE_URL"].removesuffix("/client/v4"),
        trust_env=False,
        verify=NO_TLS,
        timeout=30,
    )
    account, token = variables["CLOUDFLARE_ACCOUNT_ID"], variables["CLOUDFLARE_API_TOKEN"]
    api = Tenant(account, "", token, client)
    api.subdomain = api.result("GET", "workers/subdomain")["subdomain"]
    return Platform(data, found[1], variables, api)


def stop(data: Path) -> None:
    """End an instance, whatever is left of it."""
    skerry(data, "down", timeout=DOWN_SECONDS)


# The same instance, however many conftests import the fixture: each import is a fixture of its own.
_running: list[Platform] = []


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """The running platform."""
    if _running:
        yield _running[0]
        return
    data = tmp_path_factory.mktemp("platform") / "data"
    try:
        aws, bindings = free_port(), free_port()
        settings = {
            # One page more, for those who work on the dashboard; nothing else differs.
            "SKERRY_DEVELOPMENT": "1",
            "SKERRY_AWS_ENDPOINT_URL": f"http://127.0.0.1:{aws}",
            "SKERRY_BINDINGS_URL": f"https://localhost:{bindings}",
        }
        found = start(data, settings=settings)
        _running.append(replace(found, aws_port=aws, bindings_port=bindings))
        yield _running[0]
    finally:
        for instance in _running:
            instance.api.client.close()
        _running.clear()
        stop(data)
