"""A whole platform in a folder of its own, driven through ./skerry as a person would."""

import json
import os
import shlex
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from edge import proc
from launcher import processes
from launcher.paths import ROOT
from tests.platform import NO_TLS

# A first start on a busy machine with two cores takes half a minute.
START_SECONDS = 240

MODULE = 'export default { fetch: () => new Response("kept") }'


@dataclass
class Platform:
    """One instance; every command gets its --data."""

    folder: Path
    flags: list[str] = field(default_factory=list)
    checkout: Path = ROOT
    """Whose code runs."""

    def skerry(
        self, command: str, *arguments: str, stdin: str = ""
    ) -> "subprocess.CompletedProcess[str]":
        # Nothing of the test run's own settings: those of an instance come from its folder.
        own = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("SKERRY_", "TEST_"))
        }
        for name in ("DATABASE_URL", "REDIS_URL"):
            own.pop(name, None)
        return subprocess.run(
            [str(self.checkout / "skerry"), command, *arguments, "--data", str(self.folder)],
            env=own,
            cwd="/",
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=START_SECONDS,
        )

    def up(self) -> str:
        done = self.skerry("up", "--detach", *self.flags)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def down(self) -> None:
        done = self.skerry("down")
        assert done.returncode == 0, done.stdout + done.stderr

    def status(self) -> dict[str, Any]:
        done = self.skerry("status", "--json")
        assert done.stdout, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def env(self) -> dict[str, str]:
        done = self.skerry("env")
        assert done.returncode == 0, done.stderr
        words = [line.removeprefix("export ") for line in done.stdout.splitlines()]
        return dict(shlex.split(word)[0].split("=", 1) for word in words)

    def deploy(self, name: str, module: str = MODULE) -> None:
        """What wrangler sends for a script of one module, and that it wants a URL."""
        metadata = {"main_module": "index.js", "compatibility_date": "2026-01-01"}
        self.api(
            "PUT",
            f"/workers/scripts/{name}",
            data={"metadata": json.dumps(metadata)},
            files={"index.js": ("index.js", module, "application/javascript+module")},
        )
        self.api("POST", f"/workers/scripts/{name}/subdomain", json={"enabled": True})

    def api(self, method: str, path: str, **arguments: Any) -> Any:
        """The result of a call below /accounts/ID with the token of `./skerry env`, which must
        succeed."""
        env = self.env()
        account = f"{env['CLOUDFLARE_API_BASE_URL']}/accounts/{env['CLOUDFLARE_ACCOUNT_ID']}"
        with httpx2.Client(
            headers={"Authorization": f"Bearer {env['CLOUDFLARE_API_TOKEN']}"},
            timeout=60,
            trust_env=False,
            verify=NO_TLS,
        ) as client:
            done = client.request(method, account + path, **arguments)
        assert done.status_code in (200, 201), done.text
        return done.json()["result"]

    def browser(self) -> httpx2.Client:
        """A browser on the dashboard, with cookies of its own."""
        return httpx2.Client(
            base_url=f"http://127.0.0.1:{self.ports()['control']}",
            headers={"Sec-Fetch-Site": "same-origin"},
            timeout=30,
            trust_env=False,
            verify=NO_TLS,
        )

    def answer(self, name: str, port: int | None = None) -> str:
        """What a visitor gets."""
        port = port or self.ports()["edge-1.http"]
        reply = httpx2.get(
            f"http://127.0.0.1:{port}/",
            headers={"Host": f"{name}.dev.localhost"},
            timeout=10,
            trust_env=False,
            verify=NO_TLS,
        )
        return f"{reply.status_code} {reply.text}"

    def healthy(self) -> bool:
        try:
            url = f"http://127.0.0.1:{self.ports()['control']}/healthz"
            return httpx2.get(url, timeout=5, trust_env=False, verify=NO_TLS).status_code == 200
        except httpx2.HTTPError:
            return False

    def ports(self) -> dict[str, int]:
        found: dict[str, int] = json.loads((self.folder / "config.json").read_text())["ports"]
        return found

    def everything(self) -> list[proc.Identity]:
        """Every process of the instance, however deep, nodes' detached ones included."""
        nodes = f"{self.folder / 'nodes'}/"
        detached = proc.marked("SKERRY_NODE", lambda value: value.startswith(nodes))
        return [*processes.of_instance(self.folder), *(process for process, _ in detached)]

    def kill(self, *names: str) -> None:
        """SIGKILL to the named processes."""
        for process in self.status()["processes"]:
            if process["name"] in names:
                os.kill(process["pid"], signal.SIGKILL)

    def kill_everything(self) -> None:
        supervisor = next(p["pid"] for p in self.status()["processes"] if p["name"] == "supervisor")
        os.kill(supervisor, signal.SIGKILL)
        found = self.everything()
        for process in found:
            processes.send(process, signal.SIGKILL)
        assert processes.wait_gone(found, 10)


def eventually(condition: Any, seconds: float = 60.0) -> bool:
    """Whether the condition came true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.2)
    return False
