"""One gateway and one node per test module; a test that breaks its node takes one of its own."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.edge.gateway import Gateway
from tests.edge.nodes import TestNode, running_node


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Short: a unix socket's path has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="skerry-") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def gateway(folder: Path) -> Iterator[Gateway]:
    gateway = Gateway(folder)
    yield gateway
    gateway.stop()
    assert gateway.complaints == []


@pytest.fixture(scope="module")
def node(gateway: Gateway, folder: Path) -> Iterator[TestNode]:
    with running_node(gateway, folder) as node:
        yield node
