"""Lines that tell a waiting person what takes long, with times."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

# A step that is over sooner needs no line.
SILENT_SECONDS = 1.0

_screen = threading.Lock()


def say(line: str) -> None:
    """Print one line at once, also into a file or a pipe."""
    with _screen:
        _show(f"{line}\n")


def _show(text: str) -> None:
    # A terminal that was closed must not keep the supervisor from stopping everything in order.
    with suppress(OSError):
        sys.stdout.write(text)
        sys.stdout.flush()


@contextmanager
def step(label: str) -> Iterator[None]:
    """Print `label … 3.2 s` for a step that takes longer than a second; the label appears while it runs."""
    started = time.monotonic()
    announced = threading.Event()

    def announce() -> None:
        with _screen:
            announced.set()
            _show(f"  {label} …")

    timer = threading.Timer(SILENT_SECONDS, announce)
    timer.daemon = True
    timer.start()
    ending = "stopped after "
    try:
        yield
        ending = ""
    finally:
        timer.cancel()
        timer.join()
        if announced.is_set():
            _show(f" {ending}{time.monotonic() - started:.1f} s\n")
