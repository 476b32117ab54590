"""`wrangler tail` with each of the three wranglers, as unmodified as it comes."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Thread
from typing import Any

import pytest

from tests.edge.nodes import until
from tests.platform import ROOT
from tests.wrangler.conftest import WRANGLERS, Project, Wrangler

pytestmark = pytest.mark.xdist_group("wrangler")

SCRIPT = """
export default { async fetch(request) {
  const { pathname } = new URL(request.url);
  console.log("asked for", { pathname });
  console.error("and complained");
  if (pathname === "/throw") throw new TypeError("boom");
  return new Response("talks");
} };
"""
CONNECT_SECONDS = 60


@dataclass
class Tailing:
    """A `wrangler tail` that runs."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.lines)

    def events(self) -> list[dict[str, Any]]:
        """What `--format json` printed so far, as far as it is complete."""
        decoder, found, text = json.JSONDecoder(), [], self.text
        while (start := text.find("{")) >= 0:
            try:
                event, end = decoder.raw_decode(text[start:])
            except ValueError:
                break
            found.append(event)
            text = text[start + end :]
        return found

    def event(self, path: str) -> dict[str, Any]:
        def found() -> list[dict[str, Any]]:
            return [
                one
                for one in self.events()
                if path in str((one["event"] or {}).get("request", {}).get("url"))
            ]

        until(found, CONNECT_SECONDS, f"{path} is shown:\n{self.text}")
        return found()[0]


def _listens(tail: Tailing, project: Project, path: str = "/hello", **headers: str) -> None:
    """Wait until it listens and a node has heard of it: with JSON it says nothing before it shows
    something, so something is done again and again."""
    deadline = time.monotonic() + CONNECT_SECONDS
    while path not in tail.text:
        assert time.monotonic() < deadline, tail.text
        assert tail.process.poll() is None, tail.text
        project.platform.get(project.hostname, path, headers=headers)
        time.sleep(0.5)


@contextmanager
def tailing(wrangler: Wrangler, project: Project, *flags: str) -> Iterator[Tailing]:
    """Run `wrangler tail`."""
    program = ROOT / "node_modules" / WRANGLERS[wrangler.version] / "bin" / "wrangler.js"
    process = subprocess.Popen(
        [
            shutil.which("node", path=wrangler.environment["PATH"]) or "node",
            program,
            "tail",
            project.name,
            *flags,
        ],
        cwd=wrangler.folder,
        env=wrangler.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    found = Tailing(process)
    reading = Thread(target=lambda: found.lines.extend(process.stdout or []), daemon=True)
    reading.start()
    try:
        yield found
    finally:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        reading.join(10)
        assert process.stdout
        process.stdout.close()


def _tails(project: Project) -> int:
    return len(project.platform.api.result("GET", f"{project.path}/tails"))


def test_tail(wrangler: Wrangler, project: Project) -> None:
    project.write({"index.js": SCRIPT})
    version_id = wrangler("deploy").version_id
    with tailing(wrangler, project, "--format", "json") as tail:
        _listens(tail, project)
        assert _tails(project) == 1
        # The first events may be the front's; those of the cell that tells everything follow.
        until(lambda: tail.events()[-1]["logs"] or _visit(project, "/wait"), CONNECT_SECONDS)
        answer = project.platform.get(project.hostname, "/whole?q=1")
        event = tail.event("/whole?q=1")
        assert event["outcome"] == "ok"
        assert event["scriptName"] == project.name
        assert event["scriptVersion"] == {"id": version_id}
        printed = [(line["level"], line["message"]) for line in event["logs"]]
        assert printed == [
            ("log", ["asked for", {"pathname": "/whole"}]),
            ("error", ["and complained"]),
        ]
        request = event["event"]["request"]
        assert request["method"] == "GET"
        assert request["headers"]["cf-ray"] == answer.headers["cf-ray"]
        assert event["event"]["response"]["status"] == 200
        _visit(project, "/throw")
        thrown = tail.event("/throw")
        assert thrown["outcome"] == "exception"
        assert [(one["name"], one["message"]) for one in thrown["exceptions"]] == [
            ("TypeError", "boom")
        ]
        # Frames without a mask end no connection.
        assert "reconnect" not in tail.text.lower()
    if wrangler.version != "3.114":  # which leaves its tail to end by itself, after a minute
        until(lambda: _tails(project) == 0, CONNECT_SECONDS, "the tail is ended")


def _visit(project: Project, path: str) -> None:
    project.platform.get(project.hostname, path)
    time.sleep(0.3)


def test_pretty(newest: Wrangler, project: Project) -> None:
    project.write({"index.js": SCRIPT})
    newest("deploy")
    with tailing(newest, project, "--format", "pretty") as tail:
        _listens(tail, project)
        until(lambda: "and complained" in tail.text or _visit(project, "/again"), CONNECT_SECONDS)
        _visit(project, "/throw")
        until(lambda: "boom" in tail.text, CONNECT_SECONDS, tail.text)
        assert "Connected to" in tail.text
        assert "GET http://" in tail.text
        assert " - Ok @ " in tail.text


def test_filters(newest: Wrangler, project: Project) -> None:
    """Of many requests only those that pass every filter are shown."""
    project.write({"index.js": SCRIPT})
    newest("deploy")
    asked = {"x-who": "it is me"}
    filters = ["--status", "ok", "--method", "GET", "--header", "x-who:me", "--ip", "self"]
    filters += ["--search", "hello"]
    with (
        tailing(newest, project, "--format", "json") as everything,
        tailing(newest, project, "--format", "json", *filters) as tail,
    ):
        _listens(everything, project)
        _listens(tail, project, "/hello-1", **asked)
        for path, headers in (
            ("/hello-2", {}),
            ("/other", asked),
            ("/throw", asked),
            ("/hello-3", asked),
        ):
            project.platform.get(project.hostname, path, headers=headers)
            everything.event(path)
        tail.event("/hello-3")
        shown = {one["event"]["request"]["url"].rsplit("/", 1)[1] for one in tail.events()}
        assert shown == {"hello-1", "hello-3"}
