from datetime import timedelta

import pytest

from api.clock import now
from dashboard import filters


@pytest.mark.parametrize(
    ("age", "words"),
    [
        (timedelta(seconds=-5), "just now"),
        (timedelta(seconds=59), "just now"),
        (timedelta(seconds=61), "1 min ago"),
        (timedelta(minutes=119), "1 h ago"),
        (timedelta(hours=25), "1 day ago"),
        (timedelta(days=6), "6 days ago"),
    ],
)
def test_times_are_told_from_now(age: timedelta, words: str) -> None:
    assert filters.time(now() - age).endswith(f">{words}</time>")


def test_long_ago_is_a_date() -> None:
    long_ago = now() - timedelta(days=400)
    assert f">{long_ago:%-d %b %Y}<" in filters.time(long_ago)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (60_509, "60.5 kB"), (64_000_000, "64.0 MB")],
)
def test_sizes(count: int, text: str) -> None:
    assert filters.size(count) == text
