"""A pytest plugin: which tests share an xdist worker, and who begins. `./skerry test` loads it with
`-p launcher.grouping`.

A file stays in one worker, and files with `pytestmark = pytest.mark.xdist_group("NAME")` stay together, so that what
they share is made once. xdist has `--dist loadgroup` for that, but 3.8 sets an attribute that pytest 9.2 no longer
reads: the marks have no effect, and nothing says so.
"""

import re
from collections import Counter
from functools import cache

import pytest
from xdist.remote import Producer  # type: ignore[import-untyped]
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from launcher.paths import ROOT

GROUP = re.compile(r"""xdist_group\(["'](\w+)["']\)""")

# A file says that its few tests take minutes: else it would begin when all others have ended.
LONG = re.compile(r"pytest\.mark\.long\b")


class ByGroup(LoadScopeScheduling):  # type: ignore[misc]
    """Sends a group of files, or a file, to one worker."""

    def _split_scope(self, nodeid: str) -> str:
        return scope(nodeid.partition("::")[0])


@cache
def scope(file: str) -> str:
    """The group that a test file asks for, else the file."""
    found = GROUP.search((ROOT / file).read_text())
    return found[1] if found else file


@cache
def is_long(file: str) -> bool:
    """Whether a test file says that it takes minutes."""
    return bool(LONG.search((ROOT / file).read_text()))


def order(files: list[str]) -> dict[str, tuple[bool, int]]:
    """By file (once for each of its tests), what to sort by: groups with a long file begin, then those
    with the most tests."""
    groups = [scope(file) for file in files]
    sizes = Counter(groups)
    long = {scope(file) for file in files if is_long(file)}
    return {
        file: (group not in long, -sizes[group]) for file, group in zip(files, groups, strict=True)
    }


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    files = [item.nodeid.partition("::")[0] for item in items]
    places = order(files)
    items.sort(key=lambda item: places[item.nodeid.partition("::")[0]])


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByGroup:
    return ByGroup(config, log)
