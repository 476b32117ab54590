"""Pull is the truth: asks the control plane for everything newer, and reports. Also the heartbeat."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping

import structlog

from edge.agent.background import Background
from edge.agent.front.certificates import Certificates
from edge.agent.gateway import Gateway, GatewayError
from edge.agent.intake import Intake
from edge.agent.neighbours import Neighbours
from edge.agent.report import report, unreported
from edge.agent.scheduled import Scheduled
from edge.agent.state import SlotState, State

# So that many nodes do not ask in the same moment.
JITTER = 0.2

log: structlog.stdlib.BoundLogger = structlog.get_logger()

Converge = Callable[[list[str]], Awaitable[None]]


class Puller:
    def __init__(
        self,
        *,
        gateway: Gateway,
        state: State,
        intake: Intake,
        converge: Converge,
        incomplete: set[str],
        about_node: Callable[[], Mapping[str, object]],
        every: float,
        background: Background,
        scheduled: Scheduled,
        neighbours: Neighbours,
        certificates: Certificates,
    ) -> None:
        self._gateway = gateway
        self._state = state
        self._intake = intake
        self._converge = converge
        self._incomplete = incomplete
        self._about_node = about_node
        self._every = every
        self._background = background
        self._scheduled = scheduled
        self._neighbours = neighbours
        self._certificates = certificates
        scheduled.on_finish = self.soon
        self._soon = asyncio.Event()
        self._away = False
        self._working: asyncio.Task[object] | None = None

    def soon(self) -> None:
        """Ask now instead of at the next turn."""
        self._soon.set()

    async def run(self) -> None:
        while True:
            self._soon.clear()
            try:
                await self._once()
            except Exception:  # a node that stops asking would never hear of anything again
                log.exception("pull_failed")
            wait = self._every * random.uniform(1 - JITTER, 1 + JITTER)
            try:
                async with asyncio.timeout(wait):
                    await self._soon.wait()
            except TimeoutError:
                continue

    async def _once(self) -> None:
        try:
            await self._pull()
            await self._report()
        except GatewayError as error:
            if not self._away:
                log.warning("control_plane_lost", reason=str(error))
            self._away = True
        else:
            if self._away:
                log.info("control_plane_found")
            self._away = False

    async def _pull(self) -> None:
        desired = await self._gateway.desired(self._state.watermark(), self._certificates.digest)
        for complaint in desired.malformed:
            log.error("slot_refused", reason=complaint)
        await self._neighbours.learn(desired.nodes)
        complete = not desired.malformed
        self._intake.pulled(desired.slots, desired.generation, complete=complete)
        if complete:
            self._intake.void(desired.base)
        pending = {
            slot.script_id for slot in self._state.slots() if slot.state is SlotState.PENDING
        }
        if pending or self._incomplete:
            self._work_on(sorted(pending | self._incomplete))
        await self._certificates.learn(desired.certificates)

    def _work_on(self, script_ids: list[str]) -> None:
        """Not waited for: many starts take long, and a report is the heartbeat."""
        if self._working is None or self._working.done():
            self._working = self._background.run(self._converged(script_ids), "converge")

    async def _converged(self, script_ids: list[str]) -> None:
        await self._converge(script_ids)
        if unreported(self._state):
            self._soon.set()

    async def _report(self) -> None:
        changed = unreported(self._state)
        runs = self._scheduled.finished()
        newest = await self._gateway.report(report(self._state, changed, self._about_node(), runs))
        self._state.mark_reported(changed)
        self._scheduled.mark_reported(runs)
        if newest > self._state.watermark():
            self._soon.set()
