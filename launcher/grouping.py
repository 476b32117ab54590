"""A pytest plugin: which tests share an xdist worker. `./skerry test` loads it with `-p launcher.grouping`.

A file stays in one worker, and files with `pytestmark = pytest.mark.xdist_group("NAME")` stay together, so that what
they share is made once. xdist has `--dist loadgroup` for that, but 3.8 sets an attribute that pytest 9.2 no longer
reads: the marks have no effect, and nothing says so.
"""

import re
from functools import cache

import pytest
from xdist.remote import Producer  # type: ignore[import-untyped]
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from launcher.paths import ROOT

GROUP = re.compile(r"""xdist_group\(["'](\w+)["']\)""")


class ByGroup(LoadScopeScheduling):  # type: ignore[misc]
    """Sends a group of files, or a file, to one worker."""

    def _split_scope(self, nodeid: str) -> str:
        return scope(nodeid.partition("::")[0])


@cache
def scope(file: str) -> str:
    """The group that a test file asks for, else the file."""
    found = GROUP.search((ROOT / file).read_text())
    return found[1] if found else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByGroup:
    return ByGroup(config, log)
