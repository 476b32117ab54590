"""Follows a page of the documentation: writes the files that it shows, runs its commands, compares what they print.

A fence is one of three. `sh` with no file named before it: commands. `text`: what the commands before it print, line by
line, where `…` stands for anything. Any other language, or a paragraph before it that ends with a file's name in
backquotes and a colon: that file. A paragraph that says Ctrl-C ends the server that was started last.
"""

import os
import re
import signal
import subprocess
import textwrap
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

COMMAND_SECONDS = 90
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
FILE_BEFORE = re.compile(r"`([\w./-]+)`:$")
# They run until somebody ends them.
SERVERS = ("npm run dev", "npx wrangler dev")


@dataclass(frozen=True)
class Fence:
    """A block of code with the paragraph before it."""

    language: str
    text: str
    before: str


def fences(page: str) -> Iterator[Fence]:
    """Every block in the order of the page; those without a language are for reading only."""
    before: list[str] = []
    language: str | None = None
    block: list[str] = []
    for line in page.splitlines():
        mark = re.match(r"\s*```(\w*)$", line)
        if mark is None:
            (before if language is None else block).append(line)
        elif language is None:
            language = mark[1]
        else:
            if language:
                yield Fence(language, textwrap.dedent("\n".join(block)) + "\n", _last(before))
            language, block, before = None, [], []


def _last(lines: list[str]) -> str:
    """All text since the fence before, on one line."""
    return " ".join(line.strip() for line in lines if line.strip())


@dataclass
class Reader:
    """Somebody at a terminal, who does what the page says."""

    folder: Path
    environment: Mapping[str, str]
    said: str = ""
    """What the last commands printed."""
    files: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    _server: "subprocess.Popen[bytes] | None" = None

    @property
    def _state(self) -> Path:
        return self.folder / "state.sh"

    def follow(self, page: Path) -> None:
        """Do all of it; AssertionError tells where page and world differ."""
        self._state.write_text(f"cd {self.folder}\n")
        try:
            for fence in fences(page.read_text()):
                if "Ctrl-C" in fence.before:
                    self._end_server()
                self._do(fence)
        finally:
            self._end_server()

    def _do(self, fence: Fence) -> None:
        named = FILE_BEFORE.search(fence.before)
        if named is not None:
            (self._place() / named[1]).write_text(fence.text)
            self.files.append(named[1])
        elif fence.language == "text":
            self._compare(fence.text)
        else:
            assert fence.language == "sh", f"whose file is this?\n{fence}"
            self._run(fence.text)

    def _run(self, commands: str) -> None:
        self.commands += commands.splitlines()
        if commands.strip() in SERVERS:
            self._serve(commands.strip())
            return
        done = subprocess.run(
            ["bash", "-c", self._script(commands)],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=COMMAND_SECONDS,
            text=True,
            check=False,
        )
        self.said = COLOUR.sub("", done.stdout)
        # What is refused is compared with the page, which shows the refusal.
        assert done.returncode == 0 or "✘" in self.said, f"{commands}\n{self.said}"

    def _script(self, commands: str) -> str:
        """The next block begins where this one ended, in its folder and with its variables."""
        keep = f'{{ export -p; printf "cd %q\\n" "$PWD"; }} > {self._state}'
        return f"source {self._state}\nset -eo pipefail\n{commands}\n{keep}"

    def _serve(self, command: str) -> None:
        log = self.folder / "server.log"
        with log.open("wb") as output:
            self._server = subprocess.Popen(
                ["bash", "-c", f"source {self._state}\nexec {command}"],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + COMMAND_SECONDS
        while "Ready on" not in log.read_text():
            assert self._server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        self.said = COLOUR.sub("", log.read_text())

    def _end_server(self) -> None:
        if self._server is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._server.pid, signal.SIGTERM)
            self._server.wait(COMMAND_SECONDS)
            self._server = None

    def _place(self) -> Path:
        """The folder in which the terminal is."""
        last = self._state.read_text().splitlines()[-1]
        return Path(last.removeprefix("cd "))

    def _compare(self, expected: str) -> None:
        position = 0
        for line in filter(None, map(str.strip, expected.splitlines())):
            pattern = re.escape(line).replace("…", ".*")
            found = re.search(pattern, self.said[position:])
            assert found, f"the page says\n{expected}\nand this was printed:\n{self.said}"
            position += found.end()
