"""Stacks of exceptions, led back to the sources with the source maps that wrangler uploaded."""

import json
import subprocess
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import structlog

from api.db import transaction
from api.settings import settings
from api.versions import service as versions

PROGRAM = Path(__file__).with_name("mapping.mjs")
TIMEOUT_SECONDS = 5.0
MEMORY_MIB = 256
# A script that throws throws the same again and again.
REMEMBERED = 5000
# Of one call; a batch with more has the rest as they are.
STACKS_MAX = 500

log = structlog.get_logger()
_lock = Lock()
_known: OrderedDict[tuple[str, str], str] = OrderedDict()


def mapped(found: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Stacks in terms of the sources, by version and stack. One that cannot be mapped is as it was.
    Never call it inside a transaction: it waits for a process."""
    result: dict[tuple[str, str], str] = {}
    unknown: dict[str, list[str]] = {}
    with _lock:
        for version_id, stack in dict.fromkeys(found):
            known = _known.get((version_id, stack))
            if known is None:
                unknown.setdefault(version_id, []).append(stack)
            else:
                result[version_id, stack] = known
    for version_id, stacks in unknown.items():
        wanted = stacks[:STACKS_MAX]
        with transaction() as session:
            maps = versions.source_maps(session, version_id)
        texts = _run(maps, wanted) if maps else wanted
        done = {(version_id, old): new for old, new in zip(wanted, texts, strict=True)}
        result |= done
        _remember(done)
    return result


def lead_back(events: Sequence[tuple[str, dict[str, Any] | None]]) -> None:
    """Give the exceptions of events, by version, the stacks of their sources."""
    thrown = [
        (version_id, one)
        for version_id, event in events
        for one in _objects(event, "exceptions")
        if isinstance(one.get("stack"), str)
    ]
    places = [(version_id, str(one["stack"])) for version_id, one in thrown]
    found = mapped(places) if places else {}
    for (_, one), place in zip(thrown, places, strict=True):
        one["stack"] = found.get(place, place[1])


def _objects(event: dict[str, Any] | None, name: str) -> list[dict[str, Any]]:
    listed = (event or {}).get(name)
    return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []


def _remember(done: Mapping[tuple[str, str], str]) -> None:
    with _lock:
        _known.update(done)
        while len(_known) > REMEMBERED:
            _known.popitem(last=False)


def _run(maps: Mapping[str, bytes], stacks: list[str]) -> list[str]:
    """The stacks as they are when the maps do not lead anywhere within the time."""
    texts = {name: content.decode(errors="replace") for name, content in maps.items()}
    try:
        done = subprocess.run(
            [str(settings().node_program), f"--max-old-space-size={MEMORY_MIB}", str(PROGRAM)],
            input=json.dumps({"maps": texts, "stacks": stacks}).encode(),
            capture_output=True,
            timeout=TIMEOUT_SECONDS,
            env={},
            check=True,
        )
        found = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        log.warning("stacks_not_mapped", reason=str(error)[:500])
        return stacks
    return found if isinstance(found, list) and len(found) == len(stacks) else stacks
