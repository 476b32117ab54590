"""Batches on the node's disk until the control plane has taken them. Bounded: the oldest go first."""

import os
import re
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

_NAME = re.compile(r"(\d{20})-([0-9a-f-]{36})-(\d+)\.json\.gz")


@dataclass(frozen=True)
class Batch:
    path: Path
    id: str
    """Never given twice: whoever gets a batch a second time knows it by this."""
    requests: int
    size_bytes: int


class Spool:
    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes
        for draft in folder.glob("*.draft"):
            draft.unlink()
        found = (_NAME.fullmatch(path.name) for path in sorted(folder.iterdir()))
        self._batches = [self._read(name) for name in found if name]

    def _read(self, name: re.Match[str]) -> Batch:
        path = self._folder / name[0]
        return Batch(path, name[2], int(name[3]), path.stat().st_size)

    @property
    def size_bytes(self) -> int:
        return sum(batch.size_bytes for batch in self._batches)

    def __len__(self) -> int:
        return len(self._batches)

    def oldest(self) -> Batch | None:
        return self._batches[0] if self._batches else None

    def holds(self, identity: str) -> bool:
        return any(batch.id == identity for batch in self._batches)

    def put(self, content: bytes, requests: int, identity: str = "") -> int:
        """Write a batch, on the disk when this returns; how many requests went to make room.
        Raises OSError when the disk does not take it."""
        identity = identity or str(uuid.uuid4())
        path = self._folder / f"{time.time_ns():020d}-{identity}-{requests}.json.gz"
        draft = path.with_suffix(".draft")
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        self._batches.append(Batch(path, identity, requests, len(content)))
        lost = 0
        while self.size_bytes > self._limit_bytes and len(self._batches) > 1:
            lost += self._batches[0].requests
            self.remove(self._batches[0])
        return lost

    def remove(self, batch: Batch) -> None:
        batch.path.unlink(missing_ok=True)
        if batch in self._batches:
            self._batches.remove(batch)
