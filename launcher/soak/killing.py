"""Who is killed, by a seed that can be given again, and which requests may suffer from it."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edge import proc
from edge.proc import Identity
from launcher import children, instance_lock, processes
from launcher.programs import Instance
from launcher.visiting import Visit

# Processes that the supervisor watches, by their names in `./skerry status`; no visitor needs any of them.
CONTROL_PLANE = ("control", "worker", "beat", "postgres", "valkey")
AGENT = "agent"
# Processes of the node, by their role. Those are between a visitor and his answer.
OF_THE_NODE = ("front", "keeper", "egress", "cell", "store")
KINDS = (*CONTROL_PLANE, AGENT, *OF_THE_NODE)
# How long a request that came during or after the kill may be the worse for it: until the process is
# there again on a busy machine. The agent and the control plane may cost no request at all.
SUFFERS_SECONDS = {"front": 10.0, "keeper": 5.0, "egress": 5.0, "cell": 5.0, "store": 8.0}
# How long before a kill a request may have ended that is not recorded: an agent had read of it and not written it
# down yet, a front had not said it. Moments, but of a process that waits for its turn on a busy machine.
UNRECORDED_SECONDS = {AGENT: 0.2, "front": 0.5, "cell": 0.0}


@dataclass(frozen=True)
class Kill:
    """One kill -9; times are of `time.monotonic`."""

    kind: str
    what: str
    began: float
    ended: float


class Killer:
    """Kills each kind once, in an order by chance, and then any."""

    def __init__(self, instance: Instance, node: str, seed: int) -> None:
        self.kills: list[Kill] = []
        self._instance = instance
        self._node = node
        self._chance = random.Random(seed)
        self._next = list(KINDS)
        self._chance.shuffle(self._next)

    def strike(self) -> Kill | None:
        """Kill one process; None when there is none of the kind whose turn it is."""
        kind = self._next.pop() if self._next else self._chance.choice(KINDS)
        found = self.of_kind(kind)
        if not found:
            return None
        name, victim = self._chance.choice(found)
        died = processes.kill(victim)
        if died is None:
            return None
        self.kills.append(Kill(kind, name, *died))
        return self.kills[-1]

    def of_kind(self, kind: str) -> list[tuple[str, Identity]]:
        """(name, process) of all that run, in an order that is always the same."""
        if kind in OF_THE_NODE:
            return sorted(
                (one for one in of_node(self._instance, self._node) if is_of(one[0], kind)),
                key=lambda one: one[0],
            )
        name = f"{self._node}-agent" if kind == AGENT else kind
        found = instance_lock.recorded(children.record_path(self._instance.data, name))
        return [(name, found)] if found else []


def is_of(role: str, kind: str) -> bool:
    return role == kind or role.startswith((f"{kind}:", f"{kind}-"))


def of_node(instance: Instance, node: str) -> list[tuple[str, Identity]]:
    """(role, process) of everything that the node has started."""
    folder = str(instance.data.node(node))
    marked = proc.marked("SKERRY_NODE", lambda value: value == folder)
    return [(marks.get("SKERRY_ROLE", ""), found) for found, marks in marked]


def excused(visit: Visit, kills: Iterable[Kill]) -> Kill | None:
    """The kill that this request may have suffered from."""
    for kill in kills:
        seconds = SUFFERS_SECONDS.get(kill.kind)
        if seconds is not None and visit.overlaps(kill.began, kill.ended + seconds):
            return kill
    return None


def unrecorded(visit: Visit, kills: Sequence[Kill]) -> Kill | None:
    """The kill that may have cost the record of this request."""
    for kill in kills:
        seconds = UNRECORDED_SECONDS.get(kill.kind)
        if seconds is not None and visit.overlaps(kill.began - seconds, kill.ended + 0.5):
            return kill
    return None
