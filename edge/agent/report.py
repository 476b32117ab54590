"""What the node tells the control plane, and what it answers to a push."""

from collections.abc import Iterable, Mapping

from edge.agent.settings import AGENT_VERSION
from edge.agent.state import Slot, SlotState, State

_FINAL = (SlotState.LIVE, SlotState.WITHDRAWN, SlotState.FAILED)


def slot_report(slot: Slot) -> dict[str, object]:
    return {
        "script_id": slot.script_id,
        "generation": slot.generation,
        "state": slot.state,
        "reason": slot.reason,
    }


def unreported(state: State) -> list[Slot]:
    """Slots whose outcome the control plane has not heard."""
    return [slot for slot in state.slots() if slot.state in _FINAL and not slot.reported]


def about(
    agent_url: str, runtime_version: str, newest_date: str, sandbox: str
) -> dict[str, object]:
    """What a node says of itself with every report. Its address may have changed since it enrolled."""
    return {
        "agent_url": agent_url,
        "agent_version": AGENT_VERSION,
        "runtime_version": runtime_version,
        "runtime_compatibility_date": newest_date,
        "sandbox": sandbox,
    }


def report(
    state: State,
    changed: Iterable[Slot],
    about_node: Mapping[str, object],
    runs: list[dict[str, object]],
) -> dict[str, object]:
    return {
        **about_node,
        "generation": state.watermark(),
        "slots": [slot_report(slot) for slot in changed],
        "runs": runs,
    }
