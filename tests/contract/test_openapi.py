"""schemathesis over the OpenAPI: whatever is sent, the answer is one that the document promises.

Made-up path parameters get no further than a 404, and made-up multipart bodies no further than a 400,
so half of the cases are given real ones.
"""

import zlib
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis import Case
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core import NOT_SET
from schemathesis.generation.hypothesis.builder import (
    HypothesisTestConfig,
    HypothesisTestMode,
    create_test,
)
from schemathesis.python import asgi
from schemathesis.schemas import APIOperation, BaseSchema

from tests.cast import upload_parts
from tests.contract.conftest import World

# With the other: a file of a single test that takes minutes would begin when all else has ended.
pytestmark = pytest.mark.xdist_group("contract")

CHECKED = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
)
# Besides these, schemathesis sends some fifty boundary values to each operation.
RANDOM_EXAMPLES = 10
# An operation that makes a version starts the runtime, which takes half a second each time.
RANDOM_EXAMPLES_OF_STARTING = 3
# One that takes nothing but ids in its path answers 404 to each made-up one, and the same to each real one.
RANDOM_EXAMPLES_OF_IDS = 3
STARTING_TAGS = {"uploads", "secrets"}
# What asks the node that has the data: there is none here, and the answer 503 is what can be seen.
DATA_TAGS = {"kv data", "d1 data", "r2 data", "queues data", "durable objects data"}
DATA_TAGS |= {"workflows data"}
REACHED_AT_LEAST = 0.8


@pytest.fixture(scope="module")
def schema(populated: World) -> BaseSchema:
    load_all_checks()
    return schemathesis.openapi.from_asgi("/openapi.json", populated.app)


@pytest.fixture(scope="module")
def client(populated: World) -> Iterator[asgi.ASGIClient]:
    """One for all cases; without it each makes its own."""
    with asgi.get_client(populated.app) as client:
        client.trust_env = False  # else each request looks for proxies
        yield client


def test_every_answer_is_one_that_the_document_promises(
    schema: BaseSchema, populated: World, client: asgi.ASGIClient, subtests: pytest.Subtests
) -> None:
    statuses: dict[str, set[int]] = defaultdict(set)
    passed: set[str] = set()

    def send(case: Case) -> None:
        arguments = _made_real(case, populated)
        # Made real, some are the same; only what passed is left out, so that a failure can be repeated.
        request = repr((case.operation.label, _sent(case), arguments))
        if request in passed:
            return
        with populated.undone():
            response = case.call(
                headers={"Authorization": f"Bearer {populated.owner.token}"},
                session=client,
                **arguments,
            )
        if case.method == case.operation.method.upper():
            statuses[case.operation.label].add(response.status_code)
        data = DATA_TAGS & set(case.operation.tags or [])
        names = [name for name in CHECKED if not data or name != "not_a_server_error"]
        case.validate_response(response, [CHECKS.get_one(name) for name in names])
        passed.add(request)

    asking_data: set[str] = set()
    for found in schema.get_all_operations():
        operation = found.ok()
        if DATA_TAGS & set(operation.tags or []):
            asking_data.add(operation.label)
        with subtests.test(operation.label):
            create_test(operation=operation, test_func=send, config=_config(schema, operation))()
    reachable = {label for label in statuses if label not in asking_data}
    unreached = {label for label in reachable if not any(s < 300 for s in statuses[label])}
    assert len(statuses) == len(populated.operations())
    assert len(unreached) <= (1 - REACHED_AT_LEAST) * len(reachable), sorted(unreached)


def _config(schema: BaseSchema, operation: APIOperation) -> HypothesisTestConfig:
    settings = hypothesis.settings(
        max_examples=_random_examples(operation),
        deadline=None,
        derandomize=True,  # the same cases in every run: a failure here is one of this commit
        database=None,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    return HypothesisTestConfig(
        project=schema.config, settings=settings, modes=list(HypothesisTestMode)
    )


def _random_examples(operation: APIOperation) -> int:
    if STARTING_TAGS & set(operation.tags or []) and operation.method != "get":
        return RANDOM_EXAMPLES_OF_STARTING
    takes_ids_only = not operation.body and not operation.query
    return RANDOM_EXAMPLES_OF_IDS if takes_ids_only else RANDOM_EXAMPLES


def _sent(case: Case) -> list[Any]:
    """Everything that makes up the request."""
    headers = sorted((case.headers or {}).items())
    return [
        case.method,
        case.path_parameters,
        case.query,
        headers,
        case.cookies,
        case.media_type,
        case.body,
    ]


def _made_real(case: Case, world: World) -> dict[str, Any]:
    """Put real values into the case; the arguments that its call needs besides."""
    made_up = dict(case.path_parameters or {})
    if "account_id" in made_up:
        # Otherwise every answer would be about the account; test_authentication.py tests that one.
        case.path_parameters["account_id"] = world.owner.id
    # A function of the case, so that a failing one stays the same while it is made smaller.
    if zlib.crc32(repr((made_up, case.query, case.body)).encode()) % 2:
        return {}
    for name in made_up:
        case.path_parameters[name] = world.real[name]
    return _real_body(case, world) if case.method == case.operation.method.upper() else {}


def _real_body(case: Case, world: World) -> dict[str, Any]:
    label = case.operation.label
    if label.startswith("POST") and label.endswith("/deployments"):
        case.body = {"versions": [{"version_id": world.real["version_id"], "percentage": 100}]}
    elif label.startswith("PATCH") and label.endswith("/settings"):
        case.body = NOT_SET
        return {"files": {"settings": (None, '{"bindings": []}')}}
    elif case.media_type == "multipart/form-data":
        case.body = NOT_SET
        return upload_parts()
    return {}
