"""Files with secrets. Standard library only: the launcher uses it before anything is installed."""

import os
from pathlib import Path


def write_private(path: Path, text: str) -> None:
    """Replace a file's content atomically, so that a crash leaves the old or the new one; mode 0600 from the first byte on."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
