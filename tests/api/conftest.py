"""What several tests of the API begin with."""

import pytest

from tests.cast import Tenant, upload_parts


@pytest.fixture
def script(alice: Tenant) -> str:
    """The name of one that is deployed."""
    alice.result("PUT", "workers/scripts/my-app", **upload_parts())
    return "my-app"
