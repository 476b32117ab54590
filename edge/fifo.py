"""Named pipes that neither end nor block: whoever opens one has both ends of it."""

import contextlib
import fcntl
import os
from pathlib import Path


def open_fifo(path: Path, size_bytes: int) -> int:
    """A descriptor for reading and writing. What is written stays in the pipe as long as anybody has one; a
    privilege is needed for a size beyond the system's limit, so it may be smaller."""
    if not path.exists():
        os.mkfifo(path, 0o600)
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    with contextlib.suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, size_bytes)
    return descriptor
