"""What a soak found: which failures and which lost records have a reason, and which have none."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from launcher.soak.killing import Kill, excused, unrecorded
from launcher.soak.slopes import Growth
from launcher.visiting import Visit

SHOWN = 10


@dataclass(frozen=True)
class Asked:
    """A request of the load, and the status that was expected."""

    template: str
    expected: int | None
    """None: any below 500."""
    visit: Visit

    @property
    def cause(self) -> str:
        """What went wrong, in a word; empty when nothing did."""
        status, expected = self.visit.status, self.expected
        if status == expected or (expected is None and 0 < status < 500):
            return ""
        return f"status {self.visit.status}" if self.visit.status else "no answer"


@dataclass(frozen=True)
class Verdict:
    requests: int
    causes: Counter[str]
    """Of every failure, with the kill that explains it."""
    unexplained: list[Asked]
    answered: int
    """With a Ray id: those have to be recorded."""
    lost: int
    lost_unexplained: list[Asked]
    """By no kill."""
    counted: int
    """So many the node says itself that it has lost: by then they have a reason."""
    doubled: int

    @property
    def good(self) -> bool:
        return not (self.unexplained or self.lost_without_reason or self.doubled)

    @property
    def lost_without_reason(self) -> int:
        return max(len(self.lost_unexplained) - self.counted, 0)


def judge(
    asked: Sequence[Asked], kills: Sequence[Kill], rays: Collection[str], counted: int = 0
) -> Verdict:
    """`rays` are those of the records, each as often as it was recorded; `counted` how many the node says
    that it lost."""
    causes: Counter[str] = Counter()
    unexplained = []
    for one in asked:
        if not one.cause:
            continue
        kill = excused(one.visit, kills)
        causes[f"{one.cause}, {f'{kill.kind} was killed' if kill else 'NO REASON'}"] += 1
        if kill is None:
            unexplained.append(one)
    recorded = Counter(rays)
    answered = [one for one in asked if one.visit.ray]
    lost = [one for one in answered if one.visit.ray not in recorded]
    return Verdict(
        len(asked),
        causes,
        unexplained,
        len(answered),
        len(lost),
        [one for one in lost if unrecorded(one.visit, kills) is None],
        counted,
        sum(count - 1 for count in recorded.values()),
    )


def lines(
    verdict: Verdict, kills: Sequence[Kill], deploys: Counter[str], began: float
) -> list[str]:
    """For a person."""
    found = [
        f"{verdict.requests:,} requests, {sum(verdict.causes.values()):,} failed, "
        f"{len(verdict.unexplained):,} of them without a reason.",
        *(f"  {count:>6,}  {cause}" for cause, count in verdict.causes.most_common()),
        "Deploys: " + (", ".join(f"{n} {word}" for word, n in deploys.items()) or "none") + ".",
        f"Killed: {', '.join(f'{kill.what} at {kill.began - began:.0f} s' for kill in kills) or 'nobody'}.",
        f"Records: {verdict.answered:,} answers, {verdict.lost:,} not recorded "
        f"({verdict.lost_without_reason:,} of them without a reason, {verdict.counted:,} counted by the node), "
        f"{verdict.doubled:,} recorded twice.",
    ]
    found += [
        f"  {one.template}: {one.cause} at {one.visit.began - began:.1f} s: {one.visit.text[:200]!r}"
        for one in verdict.unexplained[:SHOWN]
    ]
    found += [
        f"  lost: {one.template}, ray {one.visit.ray} at {one.visit.began - began:.1f} s"
        for one in verdict.lost_unexplained[:SHOWN]
    ]
    return found


def growth_lines(growth: Sequence[Growth]) -> list[str]:
    width = max((len(one.name) for one in growth), default=0)
    head = f"{'process':<{width}} | watched | memory MB | MB/min | descriptors | per min"
    return [
        head,
        *(
            f"{one.name:<{width}} | {one.seconds:>5.0f} s | {one.memory_bytes / 1e6:>9.1f} |"
            f" {one.memory_slope / 1e6:>+6.2f} | {one.descriptors:>11.0f} | {one.descriptors_slope:>+7.2f}"
            for one in growth
        ),
    ]
