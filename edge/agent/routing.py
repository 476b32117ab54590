"""Where the front leads visitors, as the slots of a node have it."""

import re
from dataclasses import dataclass

from edge.agent.desired import Version
from edge.agent.front.maps import Maps
from edge.agent.front.template import BUCKETS, home_name, slot_name, split_name
from edge.agent.patterns import Pattern
from edge.agent.precedence import Claim, led
from edge.agent.state import Slot

# What can be a member of the header that asks for a version, and a word of the front's map.
_WORD = re.compile(r"[A-Za-z0-9_.*-]+", re.ASCII)
_NO_WORD = "!"


@dataclass(frozen=True)
class Split:
    """Two versions that share the visitors of a script. The newer one has the buckets below the
    threshold, whichever of the two slots it is in: so a key's version stays when the two change places,
    and while the newer one's share grows."""

    script: str
    newer: tuple[int, Version]
    """The number of its slot, and the version that is live there."""
    older: tuple[int, Version]

    @property
    def name(self) -> str:
        return split_name(self.newer[0])

    @property
    def text(self) -> str:
        """As the front takes it apart."""
        (number, newer), (other, older) = self.newer, self.older
        threshold = min(max(round(newer.percentage * BUCKETS / 100), 0), BUCKETS)
        words = (self.script, newer.version_id, older.version_id)
        named = (word if _WORD.fullmatch(word) else _NO_WORD for word in words)
        return "/".join((slot_name(number), str(threshold), slot_name(other), *named))


def splits(slots: list[Slot]) -> dict[str, Split]:
    """The scripts that two versions answer, by their id: what is live, not what is desired, because
    all stays as it is while a version does not start."""
    companions = {slot.script_id: slot for slot in slots if slot.desired.companion}
    found: dict[str, Split] = {}
    for slot in slots if companions else ():
        other = companions.get(slot.script_id)
        if other is None or other is slot or not slot.desired.versions:
            continue
        if slot.live and other.live and slot.number is not None and other.number is not None:
            sides = [(slot.number, slot.live), (other.number, other.live)]
            older, newer = sorted(sides, key=lambda side: (side[1].number, side[1].version_id))
            found[slot.script_id] = Split(slot.desired.name, newer, older)
    return found


def maps(slots: list[Slot]) -> Maps:
    """Where the front leads visitors. Two scripts may claim one hostname or pattern while it moves from
    one to the other: the newer decision wins, as soon as somebody can answer it."""
    split = splits(slots)
    hosts, routes = dict[str, Claim](), dict[Pattern, Claim]()
    for slot in sorted(slots, key=lambda one: (_answered(one), one.generation)):
        name = _name(slot, split.get(slot.script_id))
        if name:
            claim = Claim(name, slot.desired.account_id)
            hosts |= dict.fromkeys(slot.desired.hostnames, claim)
            routes |= dict.fromkeys(slot.desired.routes, claim)
    return led(hosts, routes, {one.name: one.text for one in split.values()})


def _answered(slot: Slot) -> bool:
    return bool(slot.live or slot.desired.home or slot.desired.function)


def _name(slot: Slot, split: Split | None) -> str | None:
    """What the front's maps say of a script, if anybody answers for it."""
    if slot.desired.home:
        return home_name(slot.desired.home.node_id)
    if slot.number is None or not slot.desired.versions:
        return None
    return split.name if split else slot_name(slot.number)
