"""One account's store of queues: it tells when the next batch is due, and is asked for it then."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Protocol

import httpx2
import structlog

from edge.agent.cells.calling import post
from edge.agent.cells.cell import Cell, StartError
from edge.agent.queues.delivery import Batch, Deliveries, StoreOfQueues
from edge.agent.stores.stores import Stores
from edge.agent.unix_http import transport_to
from edge.runtime.reach import STORE_HEADER

# What opens all queues of an account; no queue is called so.
ALL = "."
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.1, 10.0
# How often it is looked whether this node delivers now.
OTHERS_SECONDS = 2.0
# A clock in steps of milliseconds must have passed the time.
STEP_SECONDS = 0.001

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Remembered(Protocol):
    """Where it is written down when a store that rests is needed next."""

    def write(self, due: float) -> None: ...

    def remove(self) -> None: ...


class Following:
    def __init__(
        self,
        account_id: str,
        agent: str,
        stores: Stores,
        due: float | None,
        remembered: Remembered,
        deliveries: Deliveries,
        delivers: Callable[[str], bool],
    ) -> None:
        """`due`: when a store that rests is needed next, None when nobody knows. `delivers`: whether it
        is this node that delivers what an account's queues have; one of all does."""
        self._delivers = delivers
        self._account_id = account_id
        self._agent = agent
        self._stores = stores
        self._remembered = remembered
        self._deliveries = deliveries
        self._due = 0.0 if due is None else due
        self._serial = -1
        self._changed = asyncio.Event()
        self.connected = False

    def up(self) -> None:
        """Somebody starts the store."""
        self._remembered.remove()
        self._due = 0.0
        self._changed.set()

    async def run(self) -> None:
        retry = FIRST_RETRY_SECONDS
        while True:
            if not self._delivers(self._account_id):
                await asyncio.sleep(OTHERS_SECONDS)
                continue
            began, reason = time.monotonic(), ""
            try:
                cell = await self._stores.ready(self._account_id, "queues")
                if cell.rested or not cell.running:
                    await self._until_due()
                began = time.monotonic()
                await self._follow(cell)
            except (OSError, EOFError, httpx2.HTTPError, StartError) as error:
                reason = repr(error)
            if _rests(self._stores.known(self._account_id, "queues")):
                self._remembered.write(self._due)
                continue
            log.warning("queues_not_followed", account_id=self._account_id, reason=reason)
            steady = time.monotonic() - began > LONGEST_RETRY_SECONDS
            retry = FIRST_RETRY_SECONDS if steady else min(2 * retry, LONGEST_RETRY_SECONDS)
            await asyncio.sleep(retry)
            self._due = 0.0

    async def _until_due(self) -> None:
        while self._due > time.time():
            await self._changes(self._due - time.time())

    async def _changes(self, seconds: float) -> None:
        """Wait until something changed, or for so long."""
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if seconds == float("inf") else seconds):
                await self._changed.wait()

    async def _follow(self, cell: Cell) -> None:
        """Until the store ends. Whoever connects starts it."""
        transport = transport_to(cell.paths.main)
        store = StoreOfQueues(cell.paths.main, {STORE_HEADER: self._ticket()})
        headers = {**store.headers, "x-skerry-agent": self._agent}
        self._serial = -1
        async with (
            httpx2.AsyncClient(transport=transport, timeout=None) as client,
            client.stream("GET", "http://store/due", headers=headers) as answer,
        ):
            answer.raise_for_status()
            self.connected = True
            taking = asyncio.create_task(self._take(store))
            try:
                async for line in answer.aiter_lines():
                    self._told(line)
            finally:
                self.connected = False
                taking.cancel()
                await asyncio.gather(taking, return_exceptions=True)

    def _ticket(self) -> str:
        return self._stores.ticket(self._account_id, "queues", ALL)

    def _told(self, line: str) -> None:
        """`serial milliseconds`; what was said earlier may be heard later."""
        serial, _, milliseconds = line.partition(" ")
        if int(serial) >= self._serial:
            self._serial = int(serial)
            self._due = float(milliseconds) / 1000 if milliseconds else float("inf")
            self._changed.set()

    async def _take(self, store: StoreOfQueues) -> None:
        """Deliver what is due, several batches at a time."""
        while True:
            while (wait := self._due + STEP_SECONDS - time.time()) > 0:
                await self._changes(wait)
            try:
                await self._take_one(store)
            except (OSError, EOFError, KeyError, ValueError) as error:
                # Its process may be ending: then whoever follows it notices, and ends this.
                log.warning("batch_not_taken", account_id=self._account_id, reason=repr(error))
                await asyncio.sleep(FIRST_RETRY_SECONDS)

    async def _take_one(self, store: StoreOfQueues) -> None:
        async with self._deliveries.room() as room:
            answer = await post(store.main, "/take", headers=store.headers)
            self._told(answer.headers["x-skerry-due"])
            if answer.status == 200:
                lease = answer.headers["x-skerry-lease"]
                script_id = answer.headers["x-skerry-script"]
                room.deliver(Batch(store, lease, script_id, answer.body))


def _rests(cell: Cell | None) -> bool:
    """Whether it was ended because nobody needed it. Its process may still be ending: the connection to
    it breaks first, and who connects again would start the store for nothing."""
    return cell is not None and cell.rested
