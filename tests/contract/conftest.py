"""One world of real things in a database of its own; whatever a test changes in it is undone."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import redis
from sqlalchemy import Engine, make_url, text
from starlette.testclient import TestClient

from tests.cast import Tenant, upload_parts
from tests.certificates import issue, request_certificate
from tests.conftest import migrated_engine

SCRIPT = "my-app"
LAMBDA_TARGET = {
    "name": "aws",
    "region": "eu-central-1",
    "role_arn": "arn:aws:iam::123456789012:role/skerry-function",
    "access_key_id": "AKIAIOSFODNN7EXAMPLE",
    "secret_access_key": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
}
SECRET = "API_KEY"


@dataclass
class World:
    """An account that has one of everything, and the values with which a path reaches it."""

    app: Any
    engine: Engine = field(repr=False)
    owner: Tenant
    stranger: Tenant
    real: dict[str, str] = field(default_factory=dict)
    """Path parameters by name, such as `version_id`."""

    @contextmanager
    def undone(self) -> Iterator[None]:
        """Run requests in one outer transaction that is rolled back; their commits are savepoints."""
        from api.db import SessionFactory  # noqa: PLC0415 - reads the settings at import

        with self.engine.connect() as connection, connection.begin() as outer:
            SessionFactory.configure(bind=connection, join_transaction_mode="create_savepoint")
            yield
            outer.rollback()

    def stored(self) -> list[tuple[str, str | None]]:
        """A digest of everything in each table."""
        from api.db import Model, transaction  # noqa: PLC0415 - reads the settings at import

        queries = [
            # When a token was last used is noted whatever it was used for.
            f"SELECT '{name}', md5(string_agg(row, ';' ORDER BY row))"  # noqa: S608 - our own table names
            f" FROM (SELECT (to_jsonb(t) - 'last_used_at')::text AS row FROM {name} t) AS rows"
            for name in Model.metadata.tables
        ]
        with transaction() as session:
            # Postgres gives the parts of a union in any order once there are enough of them.
            return sorted(tuple(row) for row in session.execute(text(" UNION ALL ".join(queries))))

    def operations(self) -> list[tuple[str, str]]:
        """Method and path template of every operation that is documented."""
        paths = self.app.openapi()["paths"]
        return [(method.upper(), path) for path in paths for method in paths[path]]

    def path(self, template: str) -> str:
        """The template with the real values in it."""
        return template.format(**self.real)


@pytest.fixture(scope="session")
def broker_connections() -> Iterator[None]:
    """Close what was kept open for sending tasks, else it is reported when it is collected."""
    from api.queue import sender  # noqa: PLC0415 - reads the settings

    client = redis.Redis.from_url(os.environ["REDIS_URL"])
    yield
    client.flushdb()
    client.close()
    sender().pool.force_close_all()


@pytest.fixture(scope="session")
def populated(app: Any, broker_connections: None) -> Iterator[World]:
    from api.db import SessionFactory  # noqa: PLC0415

    url = make_url(os.environ["DATABASE_URL"])
    engine = migrated_engine(
        url.set(database=f"{url.database}_contract").render_as_string(hide_password=False)
    )
    SessionFactory.configure(bind=engine, join_transaction_mode="conditional_savepoint")
    client = TestClient(app, raise_server_exceptions=False)
    world = World(app, engine, _tenant("owner", client), _tenant("stranger", client))
    _populate(world)
    yield world
    engine.dispose()


@pytest.fixture
def world(populated: World) -> Iterator[World]:
    """The world for one test."""
    with populated.undone():
        yield populated


def _tenant(name: str, client: TestClient) -> Tenant:
    from api.accounts import tokens  # noqa: PLC0415
    from api.accounts.models import Account  # noqa: PLC0415
    from api.db import transaction  # noqa: PLC0415

    with transaction() as session:
        account = Account(name=name, subdomain=name)
        session.add(account)
        session.flush()
        return Tenant(account.id, name, tokens.issue(session, account, f"{name}-token"), client)


def _populate(world: World) -> None:
    """A script with a secret, hence two versions and two deployments, and a node to push them to."""
    from api.db import transaction  # noqa: PLC0415
    from api.nodes import service as nodes  # noqa: PLC0415

    owner = world.owner
    parts = upload_parts(bindings=[{"name": "STAGE", "type": "plain_text", "text": "test"}])
    owner.result("PUT", f"workers/scripts/{SCRIPT}", **parts)
    owner.result("PUT", f"workers/scripts/{SCRIPT}/secrets", json={"name": SECRET, "text": "s3"})
    owner.result("PUT", f"workers/scripts/{SCRIPT}/schedules", json=[{"cron": "0 0 1 1 *"}])
    workflow = {"script_name": SCRIPT, "class_name": "Order"}
    owner.result("PUT", "workflows/orders", json=workflow)
    deployment = owner.result("GET", f"workers/scripts/{SCRIPT}/deployments")["deployments"][0]
    with transaction() as session:
        token = nodes.issue_join_token(session)
        # Nothing listens there: the node is away, and rollouts to it wait.
        nodes.enrol(session, token, "edge-1", "https://127.0.0.1:9", request_certificate())
    token = owner.result("POST", "tokens", json={"name": "ci"})
    namespace = owner.result("POST", "storage/kv/namespaces", json={"title": "cache"})
    owner.result("POST", "r2/buckets", json={"name": "files"})
    queue = owner.result("POST", "queues", json={"queue_name": "free"})
    consumed = owner.result("POST", "queues", json={"queue_name": "jobs"})["queue_id"]
    consumer = owner.result("POST", f"queues/{consumed}/consumers", json={"type": "http_pull"})
    zone = owner.result("POST", "/zones", json={"name": "example.com"})
    routes = f"/zones/{zone['id']}/workers/routes"
    route = owner.result("POST", routes, json={"pattern": "example.com/*", "script": SCRIPT})
    named = {"hostname": "app.example.com", "service": SCRIPT}
    domain = owner.result("PUT", "workers/domains", json=named)
    shown = f"/zones/{zone['id']}/custom_certificates"
    certificate = owner.result("POST", shown, json=issue("example.com").body)
    world.real = {
        "zone_id": zone["id"],
        "route_id": route["id"],
        "domain_id": domain["id"],
        "certificate_id": certificate["id"],
        "environment": "production",
        "account_id": owner.id,
        "name": SCRIPT,
        "version_id": deployment["versions"][0]["version_id"],
        "deployment_id": deployment["id"],
        "secret_name": SECRET,
        "subdomain": owner.subdomain,
        "token_id": token["id"],
        "tail_id": owner.result("POST", f"workers/scripts/{SCRIPT}/tails", json={})["id"],
        "namespace_id": namespace["id"],
        "database_id": owner.result("POST", "d1/database", json={"name": "db"})["uuid"],
        "key": "greeting",
        "workflow_name": "orders",
        "instance_id": "first",
        "event_type": "paid",
        "bucket": "files",
        "queue": queue["queue_id"],
        "queue_id": consumed,
        "consumer_id": consumer["consumer_id"],
        "rule_id": owner.result(
            "POST",
            "skerry/alerts/rules",
            json={"name": "disk", "kind": "disk", "threshold": 95},
        )["id"],
        "destination_id": owner.result(
            "POST",
            "skerry/alerts/destinations",
            json={"name": "ops", "kind": "mail", "address": "ops@example.org"},
        )["id"],
        "ray_id": "0123456789abcdef",
        "target_id": owner.result("POST", "skerry/targets", json=LAMBDA_TARGET)["id"],
        "access_key_id": owner.result("POST", "skerry/access_keys", json={"name": "ci"})["id"],
    }
