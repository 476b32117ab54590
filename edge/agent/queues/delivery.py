"""One batch on its way: into a cell, and what the script made of it back into the store.

The store leased the batch to us. Whatever goes wrong here, the lease ends and the batch comes again.
"""

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from edge.agent.background import Background
from edge.agent.cells.calling import answering, ended, post, visiting
from edge.agent.cells.cell import Cell
from edge.agent.cells.fleet import Fleet

# As long as Cloudflare lets a handler run.
LONGEST_SECONDS = 15 * 60.0
# A lease of the store's lasts for a minute.
RENEW_SECONDS = 20.0
# Batches of one node at the same time: each may have 100 messages of 128 kB.
AT_ONCE = 64
# When the consumer is not there or does not start.
ABSENT_SECONDS = 5
# How often, and for how long, a store that has ended is told what came of a batch.
TELL_SECONDS, TELLING_SECONDS = 0.2, 60.0

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True)
class StoreOfQueues:
    main: Path
    headers: Mapping[str, str]
    """What opens it."""


@dataclass(frozen=True)
class Batch:
    store: StoreOfQueues
    lease: str
    script_id: str
    content: bytes
    """As the platform worker wants it."""


class Deliveries:
    def __init__(self, fleet: Fleet, background: Background) -> None:
        self._fleet = fleet
        self._background = background
        self._room = asyncio.Semaphore(AT_ONCE)

    @contextlib.asynccontextmanager
    async def room(self) -> AsyncIterator["Room"]:
        """Room for one batch more, given back unless one is delivered."""
        await self._room.acquire()
        room = Room(self)
        try:
            yield room
        finally:
            if not room.used:
                self._room.release()

    def start(self, batch: Batch) -> None:
        self._background.run(self._deliver(batch), f"batch {batch.lease}")

    async def _deliver(self, batch: Batch) -> None:
        try:
            cells = self._fleet.serving(batch.script_id)
            if not cells:
                await _tell(batch, "/release", {"x-skerry-delay": str(ABSENT_SECONDS)})
                return
            cell = random.choice(cells)
            with visiting(cell.paths.main):
                renewing = asyncio.create_task(_renew(batch))
                try:
                    await self._ask(cell, batch)
                finally:
                    renewing.cancel()
        finally:
            self._room.release()

    async def _ask(self, cell: Cell, batch: Batch) -> None:
        if not await answering(cell):
            delay = 0 if cell.closed() else ABSENT_SECONDS
            await _tell(batch, "/release", {"x-skerry-delay": str(delay)})
            return
        result = await _result(cell, batch.content)
        await _tell(batch, "/settle", {}, result)


class Room:
    def __init__(self, deliveries: Deliveries) -> None:
        self._deliveries = deliveries
        self.used = False

    def deliver(self, batch: Batch) -> None:
        self.used = True
        self._deliveries.start(batch)


async def _result(cell: Cell, content: bytes) -> bytes:
    """What the runtime says of the event, or what it would have said."""
    try:
        async with asyncio.timeout(LONGEST_SECONDS):
            answer = await post(cell.paths.control, "/queue", content)
        if answer.status == 200:
            return answer.body
        outcome, reason = "exception", f"The cell answered {answer.status}."
    except TimeoutError:
        outcome, reason = "canceled", "It ran for too long."
    except (OSError, EOFError) as error:
        outcome, reason = ended(cell, str(error))
    log.warning("batch_failed", script_id=cell.record.script_id, outcome=outcome, reason=reason)
    return json.dumps({"outcome": outcome}).encode()


async def _renew(batch: Batch) -> None:
    while True:
        await asyncio.sleep(RENEW_SECONDS)
        with contextlib.suppress(OSError, EOFError):
            await post(batch.store.main, "/renew", headers=_headers(batch))


async def _tell(batch: Batch, path: str, headers: Mapping[str, str], body: bytes = b"") -> None:
    """The store may be between two lives; later than this its lease has ended anyway."""
    reason = ""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(TELLING_SECONDS):
            while True:
                with contextlib.suppress(OSError, EOFError):
                    answer = await post(
                        batch.store.main, path, body, {**_headers(batch), **headers}
                    )
                    if answer.status == 200:
                        return
                    reason = f"it answered {answer.status}"
                await asyncio.sleep(TELL_SECONDS)
    log.warning("batch_not_settled", lease=batch.lease, reason=reason)


def _headers(batch: Batch) -> dict[str, str]:
    return {**batch.store.headers, "x-skerry-lease": batch.lease}
