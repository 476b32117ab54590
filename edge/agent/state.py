"""Desired and reported state on the node's own disk. What is here is served after any crash."""

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from edge.agent.desired import (
    DesiredSlot,
    Function,
    Version,
    read_function,
    read_home,
    read_routes,
    read_scaling,
    read_version,
    script_of,
)
from edge.agent.sealing import Seal
from edge.proc import Identity
from edge.runtime.sandbox import FIRST_UID
from edge.wire import Fields

_SCHEMA = """
-- `script_id` is a slot's id in both tables: see `Slot.id`.
CREATE TABLE IF NOT EXISTS slots (
    script_id TEXT PRIMARY KEY,
    account_id TEXT NOT NULL,
    name TEXT NOT NULL,
    generation INTEGER NOT NULL,
    deployment_id TEXT,
    hostnames TEXT NOT NULL,
    desired BLOB NOT NULL,
    live BLOB,
    number INTEGER UNIQUE,
    state TEXT NOT NULL,
    reason TEXT,
    reported INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE IF NOT EXISTS cells (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    script_id TEXT NOT NULL,
    version_id TEXT NOT NULL,
    digest TEXT NOT NULL,
    slot_number INTEGER NOT NULL,
    phase TEXT NOT NULL,
    pid INTEGER,
    started INTEGER,
    boot TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS users (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id TEXT NOT NULL UNIQUE
) STRICT;
CREATE TABLE IF NOT EXISTS node (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
INSERT OR IGNORE INTO node (key, value) VALUES ('watermark', 0);
"""

# Run once each, in this order, on a database of an earlier release: never changed, only added to.
_CHANGES = (
    "ALTER TABLE slots ADD COLUMN scaling TEXT NOT NULL DEFAULT '{}'",
    "ALTER TABLE slots ADD COLUMN data_node TEXT",
    "ALTER TABLE slots ADD COLUMN home TEXT NOT NULL DEFAULT 'null'",
    "ALTER TABLE slots ADD COLUMN data_bucket TEXT",
    "ALTER TABLE slots ADD COLUMN function BLOB",
    "ALTER TABLE slots ADD COLUMN routes TEXT NOT NULL DEFAULT '[]'",
)


class SlotState(StrEnum):
    PENDING = "pending"
    """Received, and this node works on it."""
    LIVE = "live"
    """The desired version answers."""
    WITHDRAWN = "withdrawn"
    """Nothing answers, as desired."""
    FAILED = "failed"
    """The desired version does not start; the one before it answers, where there is one."""


class Phase(StrEnum):
    STARTING = "starting"
    """Never had a visitor."""
    SERVING = "serving"
    DRAINING = "draining"
    """Finishes what it has begun."""


@dataclass(frozen=True)
class Slot:
    desired: DesiredSlot
    live: Version | None
    """The newest version that answered; what is started again after a crash."""
    number: int | None
    """Which of the front's slots; None while the script holds none."""
    state: SlotState
    reason: str | None
    reported: bool

    @property
    def id(self) -> str:
        """The script's id, or one made of it when this is a companion."""
        return self.desired.slot_id

    @property
    def script_id(self) -> str:
        return self.desired.script_id

    @property
    def generation(self) -> int:
        return self.desired.generation


@dataclass(frozen=True)
class CellRecord:
    id: int
    slot_id: str
    """Which slot it serves: two versions of a script have one each."""
    version_id: str
    digest: str
    """Of everything the cell was built from; another one means: exchange it."""
    slot_number: int
    phase: Phase
    identity: Identity | None

    @property
    def script_id(self) -> str:
        return script_of(self.slot_id)

    @property
    def name(self) -> str:
        """The server's name in the front, never given twice."""
        return f"c{self.id}"

    @property
    def role(self) -> str:
        """Of its process."""
        return f"cell:{self.name}"


class State:
    """SQLite in WAL mode; small enough that each call is done at once. Slots are cached."""

    def __init__(self, path: Path, seal: Seal, first_uid: int = FIRST_UID) -> None:
        self._seal = seal
        self._first_uid = first_uid
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(_SCHEMA)
        self._change()
        path.chmod(0o600)
        rows = self._db.execute("SELECT * FROM slots").fetchall()
        self.revision = 0
        """Another one means that slots have changed."""
        self._slots = {row["script_id"]: self._read_slot(row) for row in rows}

    def close(self) -> None:
        self._db.close()

    def _change(self) -> None:
        (done,) = self._db.execute("PRAGMA user_version").fetchone()
        for number, change in enumerate(_CHANGES[done:], start=done + 1):
            self._db.execute("BEGIN IMMEDIATE")
            with self._db:
                self._db.execute(change)
                self._db.execute(f"PRAGMA user_version = {number}")

    # Slots

    def slots(self) -> list[Slot]:
        return list(self._slots.values())

    def slot(self, slot_id: str) -> Slot | None:
        return self._slots.get(slot_id)

    def save(self, slots: Iterable[Slot], watermark: int | None = None) -> None:
        """Write slots and, when given, the watermark, all or nothing."""
        changed = [self._overtaken(slot) for slot in slots]
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            for slot in changed:
                self._write_slot(slot)
            if watermark is not None:
                self._db.execute("UPDATE node SET value = ? WHERE key = 'watermark'", (watermark,))
        self._slots.update({slot.id: slot for slot in changed})
        self.revision += 1

    def save_serving(self, slot: Slot, cell: CellRecord) -> None:
        """From here on this cell answers for the slot; every other one of it drains."""
        slot = self._overtaken(slot)
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._write_slot(slot)
            self._db.execute(
                "UPDATE cells SET phase = 'draining' WHERE script_id = ? AND phase = 'serving'",
                (slot.id,),
            )
            self._db.execute("UPDATE cells SET phase = 'serving' WHERE id = ?", (cell.id,))
        self._slots[slot.id] = slot
        self.revision += 1

    def swap(self, one: Slot, other: Slot) -> tuple[Slot, Slot]:
        """Let two slots exchange what they have: the version that is live, the front's slot, the cells."""
        one, other = (
            replace(one, live=other.live, number=other.number),
            replace(other, live=one.live, number=one.number),
        )
        written = [self._overtaken(slot) for slot in (one, other)]
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            for slot in written:
                self._write_slot(slot)
            self._db.execute(
                "UPDATE cells SET script_id = CASE script_id WHEN :one THEN :other ELSE :one END"
                " WHERE script_id IN (:one, :other)",
                {"one": one.id, "other": other.id},
            )
        self._slots |= {slot.id: slot for slot in written}
        self.revision += 1
        return one, other

    def remove_slot(self, slot: Slot) -> None:
        with self._db:
            self._db.execute("DELETE FROM slots WHERE script_id = ?", (slot.id,))
        self._slots.pop(slot.id, None)
        self.revision += 1

    def _overtaken(self, slot: Slot) -> Slot:
        """What to write of a slot that somebody worked on: a newer decision may have come meanwhile,
        and stays to be carried out."""
        known = self._slots.get(slot.id)
        if known and known.generation > slot.generation:
            return replace(known, live=slot.live, number=slot.number)
        return slot

    def save_phase(self, cell: CellRecord, phase: Phase) -> None:
        """One cell more, or one less, of those that serve a script side by side."""
        with self._db:
            self._db.execute("UPDATE cells SET phase = ? WHERE id = ?", (phase, cell.id))

    def save_version(self, cell: CellRecord) -> None:
        """The cell's socket stays, and a process of another version will be behind it."""
        with self._db:
            self._db.execute(
                "UPDATE cells SET version_id = ?, digest = ? WHERE id = ?",
                (cell.version_id, cell.digest, cell.id),
            )

    def save_digests(self, cells: Iterable[CellRecord]) -> None:
        changes = [(cell.digest, cell.id) for cell in cells]
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("UPDATE cells SET digest = ? WHERE id = ?", changes)

    def remove_cells(self, cells: Iterable[CellRecord]) -> None:
        gone = [(cell.id,) for cell in cells]
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("DELETE FROM cells WHERE id = ?", gone)

    def drain_cells(self, slot_id: str) -> None:
        with self._db:
            self._db.execute("UPDATE cells SET phase = 'draining' WHERE script_id = ?", (slot_id,))

    def watermark(self) -> int:
        """Every change up to this generation has been received."""
        row = self._db.execute("SELECT value FROM node WHERE key = 'watermark'").fetchone()
        return int(row["value"])

    def mark_reported(self, slots: Iterable[Slot]) -> None:
        """Remember what the control plane has heard, unless it changed meanwhile."""
        current = [self._slots[slot.id] for slot in slots if self._unchanged(slot)]
        self.save(replace(slot, reported=True) for slot in current)

    def _unchanged(self, slot: Slot) -> bool:
        now = self._slots[slot.id]
        return (now.generation, now.state, now.reason) == (
            slot.generation,
            slot.state,
            slot.reason,
        )

    def has_data_of(self, account_id: str) -> bool:
        """Whether this is the node with the data of an account, or the one that works on it when that is
        in a bucket."""
        slots = (slot.desired for slot in self.slots() if slot.desired.account_id == account_id)
        return not any(desired.data_node for desired in slots)

    def referenced_versions(self) -> list[Version]:
        """Every version whose files must stay on disk."""
        versions = [version for slot in self.slots() for version in slot.desired.versions]
        return versions + [slot.live for slot in self.slots() if slot.live]

    # Users of the system

    def uid_of(self, account_id: str) -> int:
        """The user that an account's cells run as on this node; no other account ever gets it."""
        with self._db:
            self._db.execute(
                "INSERT INTO users (account_id) VALUES (?) ON CONFLICT DO NOTHING", (account_id,)
            )
        query = "SELECT number FROM users WHERE account_id = ?"
        return self._first_uid + int(self._db.execute(query, (account_id,)).fetchone()["number"])

    # Cells

    def cells(self) -> list[CellRecord]:
        return [_read_cell(row) for row in self._db.execute("SELECT * FROM cells")]

    def add_cell(self, slot_id: str, version_id: str, digest: str, number: int) -> CellRecord:
        with self._db:
            cursor = self._db.execute(
                "INSERT INTO cells (script_id, version_id, digest, slot_number, phase)"
                " VALUES (?, ?, ?, ?, 'starting')",
                (slot_id, version_id, digest, number),
            )
        assigned = cursor.lastrowid or 0
        return CellRecord(assigned, slot_id, version_id, digest, number, Phase.STARTING, None)

    def save_process(self, cell: CellRecord, identity: Identity) -> None:
        with self._db:
            self._db.execute(
                "UPDATE cells SET pid = ?, started = ?, boot = ? WHERE id = ?",
                (identity.pid, identity.started, identity.boot, cell.id),
            )

    def remove_cell(self, cell: CellRecord) -> None:
        with self._db:
            self._db.execute("DELETE FROM cells WHERE id = ?", (cell.id,))

    # Rows

    def _write_slot(self, slot: Slot) -> None:
        desired = slot.desired
        self._db.execute(
            "INSERT OR REPLACE INTO slots (script_id, account_id, name, generation, deployment_id,"
            " hostnames, desired, live, number, state, reason, reported, scaling, data_node, home,"
            " data_bucket, function, routes)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                slot.id,
                desired.account_id,
                desired.name,
                desired.generation,
                desired.deployment_id,
                json.dumps(desired.hostnames),
                self._sealed(desired.script_id, desired.versions),
                self._sealed(desired.script_id, [slot.live]) if slot.live else None,
                slot.number,
                slot.state,
                slot.reason,
                slot.reported,
                json.dumps(desired.scaling.as_json()),
                desired.data_node,
                json.dumps(desired.home.as_json() if desired.home else None),
                desired.data_bucket,
                self._sealed_function(desired),
                json.dumps([pattern.text for pattern in desired.routes]),
            ),
        )

    def _read_slot(self, row: sqlite3.Row) -> Slot:
        script_id = script_of(row["script_id"])
        desired = DesiredSlot(
            script_id=script_id,
            account_id=row["account_id"],
            name=row["name"],
            generation=row["generation"],
            deployment_id=row["deployment_id"],
            hostnames=tuple(json.loads(row["hostnames"])),
            versions=self._unsealed(script_id, row["desired"]),
            scaling=read_scaling(json.loads(row["scaling"]), "scaling"),
            data_node=row["data_node"],
            data_bucket=row["data_bucket"],
            home=read_home(json.loads(row["home"]), "home"),
            function=self._unsealed_function(script_id, row["function"]),
            routes=read_routes(Fields({"routes": json.loads(row["routes"])}, "slot")),
            companion=script_id != row["script_id"],
        )
        live = self._unsealed(script_id, row["live"]) if row["live"] else (None,)
        return Slot(
            desired=desired,
            live=live[0],
            number=row["number"],
            state=SlotState(row["state"]),
            reason=row["reason"],
            reported=bool(row["reported"]),
        )

    def _sealed_function(self, desired: DesiredSlot) -> bytes | None:
        if desired.function is None:
            return None
        text = json.dumps(desired.function.as_json())
        return self._seal.close(text.encode(), desired.script_id)

    def _unsealed_function(self, script_id: str, sealed: bytes | None) -> Function | None:
        if sealed is None:
            return None
        return read_function(json.loads(self._seal.open(sealed, script_id)), "function")

    def _sealed(self, script_id: str, versions: Iterable[Version]) -> bytes:
        text = json.dumps([version.as_json() for version in versions])
        return self._seal.close(text.encode(), script_id)

    def _unsealed(self, script_id: str, sealed: bytes) -> tuple[Version, ...]:
        versions = json.loads(self._seal.open(sealed, script_id))
        return tuple(read_version(Fields(source, "version")) for source in versions)


def _read_cell(row: sqlite3.Row) -> CellRecord:
    identity = None
    if row["pid"] is not None:
        identity = Identity(row["pid"], row["started"], row["boot"])
    return CellRecord(
        id=row["id"],
        slot_id=row["script_id"],
        version_id=row["version_id"],
        digest=row["digest"],
        slot_number=row["slot_number"],
        phase=Phase(row["phase"]),
        identity=identity,
    )
