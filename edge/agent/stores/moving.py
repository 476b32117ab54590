"""Carries the data of a node that does not run into the bucket: `python -m edge.agent move --dir DIR`.

What is on the disk stays as it is. An object's rows are counted when it is there; a file is read back. Whatever ends this in between, it can be started again and does the rest.
"""

import contextlib
import hashlib
import http.client
import itertools
import json
import re
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from edge.agent.processes import node_processes
from edge.agent.stores import dumping
from edge.agent.stores.stores import MOVED, ROLE, has_data
from edge.paths import NodePaths
from edge.runtime.binary import Runtime
from edge.runtime.stores import KINDS
from edge.runtime.stores.adopting import adopt_config
from edge.runtime.stores.cluster import STOP_MS, Bucket
from edge.runtime.stores.config import BLOBS, OBJECTS
from edge.runtime.stores.kind import Kind
from edge.runtime.trial import UnixConnection, memory_file, throw_away

START_SECONDS, ANSWER_SECONDS = 60.0, 3600.0
CHUNK = 1024 * 1024
# The table of an object that is not whole.
UNFINISHED = "skerry_unfinished"
_OBJECT = re.compile(r"[0-9a-f]{64}\.sqlite")


class MoveError(Exception):
    """Not everything was carried over; what was, counts. The message is for the operator."""


@dataclass
class Moved:
    """What of one account's data of a kind is in the bucket."""

    bucket: str
    objects: int = 0
    rows: int = 0
    files: int = 0
    bytes: int = 0
    """Of the files."""
    finished_at: str = ""


def move(
    paths: NodePaths, runtime: Runtime, bucket: Bucket, say: Callable[[str], None]
) -> list[Moved]:
    """Carry over all that was not yet, and say what. Raises MoveError; the agent's lock is the caller's."""
    if any(role.startswith(ROLE) for _, role in node_processes(paths.root)):
        raise MoveError("Stores of this node still run. Stop the node first.")
    done = []
    for folder in sorted(paths.stores.glob("*/*")):
        account_id, kind = folder.parent.name, KINDS.get(folder.name)
        if kind is None or not kind.kept or not has_data(folder):
            continue
        name = f"{kind.name} of {account_id}"
        marker = folder / MOVED
        if marker.exists():
            say(
                f"{name}: was carried over before, into {json.loads(marker.read_text())['bucket']}."
            )
            continue
        moved = _move_one(folder, kind, account_id, runtime, bucket)
        moved.finished_at = datetime.now(UTC).isoformat(timespec="seconds")
        part = marker.with_suffix(".part")
        part.write_text(json.dumps(asdict(moved)))
        part.rename(marker)
        say(
            f"{name}: {moved.objects:,} objects with {moved.rows:,} rows and {moved.files:,} files "
            f"({moved.bytes:,} bytes) are in {moved.bucket}."
        )
        done.append(moved)
    return done


def _move_one(folder: Path, kind: Kind, account_id: str, runtime: Runtime, bucket: Bucket) -> Moved:
    moved = Moved(bucket.url)
    with _adopting(kind, account_id, runtime, bucket) as ask:
        # Files first: no row may be there without what it refers to.
        blobs = folder / BLOBS
        for file in sorted(path for path in blobs.rglob("*") if path.is_file()):
            if not file.name.startswith("."):
                moved.files += 1
                moved.bytes += _move_file(ask, file, str(file.relative_to(blobs)))
        for class_name in kind.objects.values():
            for file in sorted((folder / OBJECTS / class_name).glob("*")):
                if _OBJECT.fullmatch(file.name):
                    moved.objects += 1
                    moved.rows += _move_object(ask, file)
    return moved


Ask = Callable[[str, str, Iterable[bytes] | None], Iterator[bytes]]


def _move_object(ask: Ask, file: Path) -> int:
    path = f"/objects/{file.stem}"
    with dumping.opened(file) as database:
        try:
            wanted = dumping.counts(database)
            there = json.loads(b"".join(ask("GET", path, None)))
            if UNFINISHED in there or (wanted and not there):
                there = _adopted(ask, path, dumping.lines(database))
        except dumping.DumpError as error:
            raise MoveError(f"{file}: {error}") from error
    if there != wanted:
        raise MoveError(
            f"{file}: the bucket has other rows, and nothing of them was changed: {there} instead of {wanted}."
        )
    return sum(wanted.values())


def _adopted(ask: Ask, path: str, lines: Iterable[bytes]) -> dict[str, int]:
    """Rows by table afterwards. In pieces, since a store that does one thing for too long loses its
    place in the cluster; until the last one, a table says that it is not whole."""
    first = json.dumps([f"CREATE TABLE {UNFINISHED} (x)"]).encode() + b"\n"
    last = json.dumps([f"DROP TABLE {UNFINISHED}"]).encode() + b"\n"
    b"".join(ask("DELETE", path, None))
    said = b""
    for piece in _gathered(itertools.chain([first], lines, [last])):
        said = b"".join(ask("POST", path, [piece]))
    counted: dict[str, int] = json.loads(said)
    return counted


def _move_file(ask: Ask, file: Path, name: str) -> int:
    wanted = _digest(_chunks(file))
    path = f"/files/{name}"
    b"".join(ask("PUT", path, _chunks(file)))
    if _digest(ask("GET", path, None)) != wanted:
        raise MoveError(f"{file}: what the bucket answers is not what was written.")
    return file.stat().st_size


def _chunks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        while chunk := opened.read(CHUNK):
            yield chunk


def _gathered(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Many in one piece."""
    piece = bytearray()
    for line in lines:
        piece += line
        if len(piece) >= CHUNK:
            yield bytes(piece)
            piece.clear()
    if piece:
        yield bytes(piece)


def _digest(chunks: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def _adopting(kind: Kind, account_id: str, runtime: Runtime, bucket: Bucket) -> Iterator[Ask]:
    """How to ask the process that stands for the store."""
    with tempfile.TemporaryDirectory(prefix="skerry-move-") as folder, memory_file(b"") as said:
        config = adopt_config(runtime, kind, account_id, bucket, folder)
        with throw_away(runtime, config, None, said, said) as running:
            if not running.first_event(START_SECONDS):
                said.seek(0)
                reason = said.read(2000).decode(errors="replace").strip()
                raise MoveError(f"The bucket cannot be used: {reason or 'no answer'}")

            def ask(method: str, path: str, body: Iterable[bytes] | None) -> Iterator[bytes]:
                connection = UnixConnection(running.address, ANSWER_SECONDS)
                try:
                    connection.request(
                        method,
                        path,
                        body,
                        encode_chunked=body is not None,
                        headers={"Transfer-Encoding": "chunked"} if body is not None else {},
                    )
                    answer = connection.getresponse()
                    if answer.status // 100 != 2:
                        said.seek(0)
                        reason = said.read().decode(errors="replace")[-2000:]
                        raise MoveError(f"{method} {path} was answered {answer.status}: {reason}")
                    while chunk := answer.read(CHUNK):
                        yield chunk
                except (OSError, http.client.HTTPException) as error:
                    said.seek(0)
                    reason = said.read().decode(errors="replace")[-2000:]
                    raise MoveError(f"{method} {path}: {error!r} {reason}") from error
                finally:
                    connection.close()

            yield ask
            # It hands its objects over; killed, it would hold them until its lease has run out.
            running.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.process.wait(2 * STOP_MS / 1000)
