"""What arrives, by push or by pull, in any order and any number of times, becomes desired state."""

from collections.abc import Iterable
from dataclasses import replace

import structlog

from edge.agent.desired import DesiredSlot
from edge.agent.state import Slot, SlotState, State

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Intake:
    def __init__(self, state: State) -> None:
        self._state = state

    def pushed(self, slots: Iterable[DesiredSlot], newest: int) -> bool:
        """Take a push in; answers whether something before it is still missing here."""
        arrived = list(slots)
        known = {slot.generation for slot in self._state.slots()}
        known |= {slot.generation for slot in arrived}
        watermark = advance(self._state.watermark(), known)
        self._save(arrived, watermark)
        return watermark < newest

    def pulled(self, slots: Iterable[DesiredSlot], newest: int, *, complete: bool) -> None:
        """Take in everything the control plane has beyond our watermark."""
        before = self._state.watermark()
        if newest < before:
            log.error("generation_went_back", node=before, control_plane=newest)
        self._save(slots, max(before, newest) if complete else before)

    def void(self, base: int) -> None:
        """Withdraw what was wanted at generation `base` or before and was never sent again."""
        orphans = [
            slot
            for slot in self._state.slots()
            if slot.desired.wanted and slot.generation <= base and not slot.desired.companion
        ]
        for slot in orphans:
            log.warning("slot_void", script=slot.desired.name, generation=slot.generation)
        withdrawn = (
            replace(slot.desired, versions=(), hostnames=(), routes=(), home=None)
            for slot in orphans
        )
        self._state.save(
            [_received(slot, desired) for slot, desired in zip(orphans, withdrawn, strict=True)],
            self._state.watermark(),
        )

    def _save(self, arrived: Iterable[DesiredSlot], watermark: int) -> None:
        newer: dict[str, Slot] = {}
        for desired in arrived:
            known = newer.get(desired.script_id) or self._state.slot(desired.script_id)
            if known is None or known.generation < desired.generation:
                newer[desired.script_id] = _received(known, desired)
        self._state.save(newer.values(), watermark)


def advance(watermark: int, known: set[int]) -> int:
    """The last generation before the first gap."""
    while watermark + 1 in known:
        watermark += 1
    return watermark


def _received(known: Slot | None, desired: DesiredSlot) -> Slot:
    if known is None:
        return Slot(desired, None, None, SlotState.PENDING, None, reported=False)
    return replace(known, desired=desired, state=SlotState.PENDING, reason=None, reported=False)
