"""A program that the supervisor starts, watches and stops."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from api.private_file import write_private
from launcher import processes
from launcher.errors import LauncherError, StartFailedError
from launcher.paths import ROOT, DataDirectory

# One older file is kept beside each log, so that it takes twice this much at most.
LOG_LIMIT_BYTES = 20 * 1024 * 1024
LAST_LINES = 15

FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 30.0
# A process that ran this long was fine: the next end of it starts counting anew. As for the cells of a node; with a
# minute, a control plane that was killed every half minute stayed away for longer and longer.
STABLE_SECONDS = 10.0


def _always() -> bool:
    return True


@dataclass(frozen=True)
class Program:
    """How to start one process, when it is healthy, and how it likes to be stopped."""

    name: str
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    """Added to the launcher's own."""
    port: int | None = None
    ready: Callable[[], bool] = _always
    prepare: Callable[[], None] | None = None
    """Called before every start, restarts included."""
    ready_seconds: float = 120.0
    """Several times what a busy machine with two cores takes."""
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 8.0


class Child:
    """One run after another of a program; at most one of them at a time."""

    def __init__(self, program: Program, data: DataDirectory) -> None:
        self.program = program
        self.data = data
        self.process: subprocess.Popen[bytes] | None = None
        self.failures = 0
        self.restarts = 0
        self._started_at = 0.0
        self._recorded = False
        self._restart_at: float | None = None

    @property
    def log(self) -> Path:
        return log_path(self.data, self.program.name)

    def start(self) -> None:
        """Start the program; its output is appended to its log."""
        turn_over(self.log)
        if self.program.prepare is not None:
            self.program.prepare()
        self._restart_at = None
        self._recorded = False
        self._started_at = time.monotonic()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.program.command,
                cwd=ROOT,
                env=environment(self.data, self.program.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # A group of its own: Ctrl-C at the terminal goes to the supervisor only, which stops all in order.
                start_new_session=True,
            )
        self._record()

    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def wait_ready(self) -> None:
        """Wait until the program answers; StartFailedError with its last log lines if it ends or stays silent."""
        deadline = time.monotonic() + self.program.ready_seconds
        while not (self.running() and self.program.ready()):
            if not self.running():
                raise StartFailedError(f"{self.program.name} {self.ending()}.\n{self.last_lines()}")
            if time.monotonic() > deadline:
                raise StartFailedError(
                    f"{self.program.name} is not healthy after {self.program.ready_seconds:.0f} s.\n{self.last_lines()}"
                )
            time.sleep(0.03)

    def tend(self) -> str | None:
        """Start an ended program again, later and later; the sentence to print when something changed."""
        now = time.monotonic()
        if self._restart_at is not None:
            return self._restart() if now >= self._restart_at else None
        if self.running():
            self._record_late()
            return None
        if now - self._started_at > STABLE_SECONDS:
            self.failures = 0
        delay = min(FIRST_DELAY_SECONDS * 2**self.failures, LONGEST_DELAY_SECONDS)
        self.failures += 1
        self._restart_at = now + delay
        return f"{self.program.name} {self.ending()}: starting it again in {delay:g} s (log: {self.log})."

    def _restart(self) -> str | None:
        self.restarts += 1
        try:
            self.start()
        except (OSError, LauncherError) as error:
            # A full disk, say: the supervisor must outlive it, the next try comes later.
            if self.running():
                # Only its record is missing. Another start would be a second process that nobody watches.
                return f"{self.program.name} runs, but its record cannot be written yet ({error})."
            self._restart_at = time.monotonic() + LONGEST_DELAY_SECONDS
            return f"{self.program.name} cannot be started ({error}): trying again in {LONGEST_DELAY_SECONDS:g} s."
        return None

    def _record_late(self) -> None:
        """Write the record of a running program if that was not possible when it was started."""
        if not self._recorded:
            with suppress(OSError):
                self._record()

    def ask_to_stop(self) -> None:
        """Send the stop signal without waiting."""
        self._restart_at = None
        if self.process is not None and self.running():
            self.process.send_signal(self.program.stop_signal)

    def wait_stopped(self) -> None:
        """Wait for the end after `ask_to_stop`; kill the program when its time is over."""
        if self.process is None:
            return
        try:
            self.process.wait(self.program.stop_seconds)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        record_path(self.data, self.program.name).unlink(missing_ok=True)

    def stop(self) -> None:
        self.ask_to_stop()
        self.wait_stopped()

    def ending(self) -> str:
        """How the last run ended, as the rest of a sentence."""
        status = self.process.returncode if self.process is not None else None
        if status is None:
            return "was never started"
        return (
            f"was ended by {signal.Signals(-status).name}"
            if status < 0
            else f"ended with status {status}"
        )

    def last_lines(self) -> str:
        return last_lines(self.log)

    def _record(self) -> None:
        process = processes.identify(self.process.pid) if self.process is not None else None
        if process is None:
            return
        content = {**asdict(process), "port": self.program.port, "restarts": self.restarts}
        write_private(record_path(self.data, self.program.name), json.dumps(content))
        self._recorded = True


def environment(data: DataDirectory, added: dict[str, str]) -> dict[str, str]:
    """The launcher's environment, the mark of the instance, and what a program needs itself.

    The addresses of the servers, passwords in them, are passed on to those only that get them in `added`.
    """
    return {
        **without_server_urls(),
        processes.MARK: str(data.path),
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        **added,
    }


def without_server_urls() -> dict[str, str]:
    """The launcher's own environment without the passwords of the database servers."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in ("DATABASE_URL", "REDIS_URL")
    }


class LogMark:
    """Healthy once its log says so, for a program that has no port to ask."""

    def __init__(self, log: Path, words: bytes) -> None:
        self._log = log
        self._words = words
        self._start = 0

    def set(self) -> None:
        """Look only at what is written from now on."""
        self._start = self._log.stat().st_size if self._log.exists() else 0

    def passed(self) -> bool:
        try:
            with self._log.open("rb") as file:
                file.seek(self._start)
                return self._words in file.read()
        except FileNotFoundError:
            return False


def record_path(data: DataDirectory, name: str) -> Path:
    return data.records / f"{name}.json"


def log_path(data: DataDirectory, name: str) -> Path:
    return data.logs / f"{name}.log"


def turn_over(log: Path) -> None:
    """Begin a log anew that has become too long; what it held is kept beside it as `NAME.log.1`.

    Copied and cut, not renamed: its writers keep it open, nodes even without us. They append, so the next line is
    its first; one that is written between the copy and the cut is lost.
    """
    if not log.exists() or log.stat().st_size <= LOG_LIMIT_BYTES:
        return
    older = log.with_suffix(".log.1")
    try:
        shutil.copyfile(log, older)
    except OSError:
        # A full disk, say: then room is worth more than old lines.
        older.unlink(missing_ok=True)
    os.truncate(log, 0)


def turn_over_all(data: DataDirectory) -> None:
    for log in data.logs.glob("*.log"):
        turn_over(log)


def last_lines(log: Path, count: int = LAST_LINES) -> str:
    """The end of a log, indented, after its path."""
    try:
        lines = log.read_text(errors="replace").splitlines()[-count:]
    except FileNotFoundError:
        lines = []
    return "\n".join([f"  Last lines of {log}:", *(f"    {line}" for line in lines)])
