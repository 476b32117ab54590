"""From a spool to the control plane: the oldest batch first, each until it was taken."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from edge.agent.gateway import GatewayError
from edge.agent.records.spool import Batch, Spool

FIRST_RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 15.0

log: structlog.stdlib.BoundLogger = structlog.get_logger()

Send = Callable[[str, bytes], Awaitable[None]]
"""Hands over a batch: its id and content. Raises GatewayError."""
Lose = Callable[[str, int], None]
"""Counts what is lost, by reason."""


class Shipping:
    def __init__(self, spool: Spool, lose: Lose) -> None:
        self._spool = spool
        self._lose = lose
        self._spooled = asyncio.Event()

    def wake(self) -> None:
        """There is something to ship."""
        self._spooled.set()

    async def run(self, send: Send) -> None:
        """Hand every batch to the control plane, for ever."""
        retry = FIRST_RETRY_SECONDS
        while True:
            batch = self._spool.oldest()
            if batch is None:
                self._spooled.clear()
                await self._spooled.wait()
            elif await self._shipped(send, batch):
                retry = FIRST_RETRY_SECONDS
            else:
                await asyncio.sleep(retry)
                retry = min(retry * 2, LONGEST_RETRY_SECONDS)

    async def _shipped(self, send: Send, batch: Batch) -> bool:
        """Whether this batch is done with."""
        try:
            content = await asyncio.to_thread(batch.path.read_bytes)
            await send(batch.id, content)
        except FileNotFoundError:
            pass  # it was the oldest, and made room
        except GatewayError as error:
            if error.status not in (400, 413, 422):
                return False
            # It would be refused again and keep all others from being taken.
            log.error("batch_refused", batch=batch.id, reason=str(error))
            self._lose("refused", batch.requests)
        self._spool.remove(batch)
        return True
