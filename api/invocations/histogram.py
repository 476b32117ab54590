"""Durations as counts per bucket: counts of any number of minutes, versions and nodes add up."""

import math
from collections.abc import Mapping

# Each bucket ends 1.25 times later than the one before it, so a quantile is off by 12 % at most.
FIRST_END_US = 100.0
GROWTH = 1.25
LAST_BUCKET = 80  # ends after an hour and a half


def bucket_of(duration_us: int) -> int:
    """The bucket of a duration: bucket 0 ends at 0.1 ms."""
    if duration_us <= FIRST_END_US:
        return 0
    return min(math.ceil(math.log(duration_us / FIRST_END_US, GROWTH)), LAST_BUCKET)


def middle_ms(bucket: int) -> float:
    """What a duration in this bucket is taken for, in milliseconds."""
    end_us = FIRST_END_US * GROWTH**bucket
    return end_us / math.sqrt(GROWTH) / 1000


def quantile_ms(counts: Mapping[int, int], share: float) -> float | None:
    """The duration that this share of the requests did not exceed; None of no requests."""
    wanted = share * sum(counts.values())
    seen = 0
    for bucket in sorted(counts):
        seen += counts[bucket]
        if seen >= wanted and seen:
            return middle_ms(bucket)
    return None
