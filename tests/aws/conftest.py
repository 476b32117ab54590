"""What is compared with AWS Lambda is a node, as in tests/edge."""

from tests.edge.conftest import folder, gateway

__all__ = ["folder", "gateway"]
