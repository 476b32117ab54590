"""`./skerry restore FILE`: an instance from a backup. All of it is made beside the data directory and renamed last."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from launcher import archive, backup, config, database, instance_lock, programs
from launcher.archive import Manifest
from launcher.errors import LauncherError
from launcher.paths import ROOT, DataDirectory
from launcher.programs import Instance
from launcher.progress import say, step

# What a data directory may hold and still count as empty: `down` and `doctor` make no more than this.
FOLDERS_WITHOUT_STATE = {"run", "logs"}


def run(data: DataDirectory, source: Path, *, force: bool) -> int:
    """Restore into a data directory that is empty, or with `force` into any that is stopped.

    LauncherError says what is in the way, or what is wrong with the file; nothing was changed then.
    """
    _refuse_in_use(data, force=force)
    data.path.parent.mkdir(parents=True, exist_ok=True)
    with _draft_of(data) as draft:
        with step("checking the backup"):
            manifest = archive.extract(source, draft.path)
            _refuse_foreign(manifest)
        _fill_database(draft)
        kept = _put_in_place(draft, data, force=force)
    say(f"Restored {data.path} as it was on {manifest.made_at}.{kept}")
    say(f"Start it with: ./skerry up{data.flag}")
    return 0


def _refuse_in_use(data: DataDirectory, *, force: bool) -> None:
    if instance_lock.supervisor(data) is not None:
        raise instance_lock.already_running(data)
    if _holds_something(data) and not force:
        raise LauncherError(
            f"{data.path} holds an instance already. Restore into another --data, or add --force: "
            "the old one is kept beside it then."
        )


def _holds_something(data: DataDirectory) -> bool:
    return data.path.exists() and any(
        entry.name not in FOLDERS_WITHOUT_STATE for entry in data.path.iterdir()
    )


@contextmanager
def _draft_of(data: DataDirectory) -> Iterator[DataDirectory]:
    """An empty data directory beside another one, gone at the end unless it was renamed."""
    folder = tempfile.mkdtemp(prefix=f".{data.path.name}.restoring-", dir=data.path.parent)
    try:
        yield DataDirectory(Path(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _refuse_foreign(manifest: Manifest) -> None:
    if missing := {backup.DUMP, "config.json", "master.key"} - manifest.files.keys():
        raise LauncherError(f"The backup is not complete: it has no {', '.join(sorted(missing))}.")
    known = (ROOT / "migrations" / "versions").glob("*.py")
    if not any(path.name.startswith(f"{manifest.schema}_") for path in known):
        raise LauncherError(
            f"The backup is from a newer Skerry ({manifest.version}, database {manifest.schema}): update this one first."
        )


def _fill_database(draft: DataDirectory) -> None:
    dump = draft.path / backup.DUMP
    draft.create()
    instance = Instance(config.load(draft.config), draft)
    with step("filling the database"), database.served(instance) as url:
        if programs.external_database() is not None and _tables(url):
            raise LauncherError(
                "The database of DATABASE_URL is not empty: make a new one and restore into that. Nothing was changed."
            )
        database.restore(url, dump)
    dump.unlink()
    shutil.rmtree(draft.lock.parent)


def _tables(url: str) -> bool:
    schemas = "('pg_catalog', 'information_schema')"
    query = f"SELECT count(*) FROM pg_tables WHERE schemaname NOT IN {schemas}"  # noqa: S608 - a constant
    return database.ask(url, query) != "0"


def _put_in_place(draft: DataDirectory, data: DataDirectory, *, force: bool) -> str:
    """Rename the draft; a sentence about what was there before, if anything was."""
    if not data.path.exists():
        draft.path.rename(data.path)
        return ""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    before = data.path.with_name(f"{data.path.name}.before-restore-{stamp}")
    with instance_lock.held(data):
        # Looked at again, now that nobody can start it.
        _refuse_in_use(data, force=force)
        instance_lock.end_leftovers(data)
        worth_keeping = _holds_something(data)
        data.path.rename(before)
        draft.path.rename(data.path)
    if worth_keeping:
        return f" What was there before is {before}."
    shutil.rmtree(before)
    return ""
