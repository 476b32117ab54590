"""Compatibility dates and flags of the pinned binary, read from the binary itself.

workerd's `compatibility-date.capnp` is in no package, but its compiled form lies in the binary,
because workerd reads it by reflection. We find the struct by its id and decode it with capnp's own
schema. No list of ours has to be kept up to date, and a flag is experimental when workerd says so.
"""

import datetime
import mmap
import re
import struct
from dataclasses import dataclass

from edge.runtime.binary import Runtime
from edge.runtime.config import date_probe_config
from edge.runtime.schema import schema_of_schemas
from edge.runtime.trial import start_once

# Ids of compatibility-date.capnp; Cap'n Proto ids do not change while the thing stays the same.
FLAGS_STRUCT = 0x8F8C1B68151B6CEF
ENABLE_FLAG = 0xB6DABBC87CD1B03E
DISABLE_FLAG = 0xD145CF1ADC42577C
EXPERIMENTAL = 0xE3E5A63E76284D88

# The struct is about 250 kB today; a Cap'n Proto message may be shorter than what we hand over.
SCHEMA_BYTES = 2 * 1024 * 1024

# These need more than a flag: workerd downloads an interpreter when a script asks for them.
UNSUPPORTED = frozenset({"python_workers"})

# Later than any binary knows; workerd calls years from 3000 on malformed.
UNKNOWABLE_DATE = "2999-12-31"
ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d")
NEWEST_DATE = re.compile(r'newest date supported by this server binary is "(\d{4}-\d\d-\d\d)"')


class CompatibilityUnknownError(RuntimeError):
    """The binary does not tell what it knows in the ways we ask: the pin moved too far."""


@dataclass(frozen=True)
class Flags:
    allowed: frozenset[str]
    experimental: frozenset[str]


def read_flags(runtime: Runtime) -> Flags:
    """Every flag name the binary knows, and which of them only `--experimental` unlocks."""
    allowed: set[str] = set()
    experimental: set[str] = set()
    schema = schema_of_schemas()
    message = _compiled_schema(runtime)
    with schema.Node.from_bytes(message, traversal_limit_in_words=len(message)) as node:
        for field in node.struct.fields:
            annotations = {one.id: one.value for one in field.annotations}
            names = experimental if EXPERIMENTAL in annotations else allowed
            names.update(
                annotations[key].text for key in (ENABLE_FLAG, DISABLE_FLAG) if key in annotations
            )
    return Flags(frozenset(allowed - UNSUPPORTED), frozenset(experimental))


def _compiled_schema(runtime: Runtime) -> bytes:
    """One message whose only segment starts at the struct's root pointer."""
    with (
        runtime.workerd.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as binary,
    ):
        at = binary.find(struct.pack("<Q", FLAGS_STRUCT)) - 8
        # The root pointer: a struct (tag 0) that follows at once (offset 0).
        if at < 0 or binary[at : at + 4] != bytes(4):
            raise CompatibilityUnknownError(
                f"{runtime.workerd} carries no readable compatibility flags."
            )
        segment = binary[at : at + SCHEMA_BYTES]
    words = len(segment) // 8
    return struct.pack("<II", 0, words) + segment[: words * 8]


def refused_flag(flags: Flags, requested: tuple[str, ...]) -> str | None:
    """Why the first unusable flag is refused, in a sentence; None when all are fine."""
    for name in requested:
        if name in flags.experimental:
            return f"The compatibility flag {name} is experimental and cannot be used on Skerry."
        if name in UNSUPPORTED:
            return f"The compatibility flag {name} is not supported by Skerry yet."
        if name not in flags.allowed:
            return f"No such compatibility flag: {name}"
    return None


def newest_date(runtime: Runtime) -> str:
    """Ask the binary for the newest date it knows, by a start with one that it cannot know."""
    trial = start_once(runtime, date_probe_config(runtime, UNKNOWABLE_DATE), timeout=10)
    newest = newest_date_in(trial.stderr)
    if newest is None:
        raise CompatibilityUnknownError(
            f"{runtime.workerd} does not say which dates it knows: {trial.stderr}"
        )
    return newest


def newest_date_in(message: str) -> str | None:
    """The newest date the binary knows, out of its complaint about a later one."""
    found = NEWEST_DATE.search(message)
    return found.group(1) if found else None


def effective_date(requested: str, newest: str | None = None) -> str:
    """The date a script runs with: never after today (UTC) or the newest the binary knows.

    A malformed one stays as it is: workerd refuses it in words of its own.
    """
    if not ISO_DATE.fullmatch(requested):
        return requested
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return min(requested, newest or today, today)
