"""What the front said and no batch holds yet, on the disk: an agent that is killed finds it when it starts again.

It is written as it is read and not synced: what a process has written survives the process. One file becomes
one batch, whose id is the file's name, so a file that was left although its batch was shipped counts once.
"""

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

SUFFIX = ".lines"


class Journal:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: BinaryIO | None = None
        self._identity = ""

    def add(self, lines: list[str]) -> None:
        """A disk that does not take them costs no more than there would be without a journal."""
        with contextlib.suppress(OSError):
            if self._file is None:
                self._identity = str(uuid.uuid4())
                self._file = self._path(self._identity).open("xb", buffering=0)
            self._file.write("".join(f"{line}\n" for line in lines).encode("latin-1"))

    def turn(self) -> str:
        """What is added from now on belongs to another batch; the id of the one before it, which has to be
        `done`. It is new when nothing was added."""
        if self._file is None:
            return str(uuid.uuid4())
        self._file.close()
        self._file = None
        return self._identity

    def done(self, identity: str) -> None:
        """That batch is in the spool, or lost and counted."""
        with contextlib.suppress(OSError):
            self._path(identity).unlink()

    def left(self) -> Iterator[tuple[str, list[str]]]:
        """Ids and lines of what an earlier agent did not come to. A line that is cut off is given, too."""
        for path in sorted(self._folder.glob(f"*{SUFFIX}"), key=lambda one: one.stat().st_mtime):
            yield path.stem, path.read_bytes().decode("latin-1").splitlines()

    def _path(self, identity: str) -> Path:
        return self._folder / f"{identity}{SUFFIX}"
