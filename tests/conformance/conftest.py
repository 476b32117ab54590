"""One small Worker on two platforms: Skerry, and `wrangler dev --local`. Their answers are compared."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from tests.edge.nodes import free_port
from tests.platform import NO_TLS, ROOT
from tests.wrangler.conftest import (
    WRANGLERS,
    Project,
    Wrangler,
    newest as newest,
    platform as platform,
    project as project,
)

# A busy machine with two cores bundles and starts for a while.
DEV_SECONDS = 60


@dataclass(frozen=True)
class Site:
    """A Worker as a visitor sees it."""

    ask: Callable[..., httpx2.Response]


@dataclass(frozen=True)
class Both:
    """The same Worker twice."""

    skerry: Site
    local: Site

    def answers(
        self, path: str, headers: list[str], method: str = "GET", **arguments: Any
    ) -> list[dict[str, Any]]:
        """What each says, Skerry first: status, body and these headers."""
        found = [site.ask(method, path, **arguments) for site in (self.skerry, self.local)]
        return [
            {
                "status": answer.status_code,
                "body": answer.text,
                **{name: answer.headers.get(name) for name in headers},
            }
            for answer in found
        ]


@pytest.fixture
def both(project: Project, newest: Wrangler) -> Iterator[Callable[..., Both]]:
    """Deploys the project and runs it locally; call it once it is written, with the configurations of
    what is to be there beside it."""
    with ExitStack() as stack:

        def start(*beside: str) -> Both:
            for config in beside:
                newest("deploy", "-c", config)
            newest("deploy")
            port = stack.enter_context(_dev(project, newest, beside))
            return Both(Site(_through_the_front(project)), Site(_at(port)))

        yield start


def _through_the_front(project: Project) -> Callable[..., httpx2.Response]:
    client = {"Host": project.hostname}
    address = f"http://127.0.0.1:{project.platform.http_port}"
    return _asking(address, client)


def _at(port: int) -> Callable[..., httpx2.Response]:
    return _asking(f"http://127.0.0.1:{port}", {})


def _asking(address: str, own: dict[str, str]) -> Callable[..., httpx2.Response]:
    def ask(method: str, path: str, **arguments: Any) -> httpx2.Response:
        headers = {**own, **arguments.pop("headers", {})}
        return httpx2.request(
            method,
            address + path,
            headers=headers,
            trust_env=False,
            verify=NO_TLS,
            timeout=20,
            **arguments,
        )

    return ask


@contextmanager
def _dev(project: Project, wrangler: Wrangler, beside: tuple[str, ...]) -> Iterator[int]:
    """`wrangler dev` in a process group of its own; gives its port."""
    port = free_port()
    program = ROOT / "node_modules" / WRANGLERS[wrangler.version] / "bin" / "wrangler.js"
    log = (project.folder.parent / "dev.log").open("wb")
    process = subprocess.Popen(
        [
            *(shutil.which("node", path=wrangler.environment["PATH"]) or "node", program, "dev"),
            *("--local", "--port", str(port), "--ip", "127.0.0.1", "--inspector-port", "0"),
            *("--test-scheduled", "--show-interactive-dev-session=false"),
            *(argument for one in ("wrangler.json", *beside) for argument in ("-c", one)),
        ],
        cwd=project.folder,
        env={**wrangler.environment, "CLOUDFLARE_CF_FETCH_ENABLED": "false"},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        _wait(port, process, project)
        yield port
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        log.close()


def _wait(port: int, process: subprocess.Popen[bytes], project: Project) -> None:
    deadline = time.monotonic() + DEV_SECONDS
    said = project.folder.parent / "dev.log"
    while time.monotonic() < deadline:
        assert process.poll() is None, said.read_text()
        try:
            httpx2.get(f"http://127.0.0.1:{port}/", trust_env=False, verify=NO_TLS, timeout=20)
        except httpx2.TransportError:
            time.sleep(0.2)
        else:
            return
    raise AssertionError(said.read_text())
