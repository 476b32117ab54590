"""Runs migrations: one transaction each, one runner at a time, no waiting on a busy table."""

from alembic import context
from sqlalchemy import create_engine, text

import api.accounts.models
import api.alerts.models
import api.analytics.models
import api.bindings.models
import api.d1.models
import api.deployments.models
import api.invocations.models
import api.kv.models
import api.logs.models
import api.nodes.models
import api.objects.models
import api.queues.models
import api.r2.models
import api.s3.models
import api.scripts.models
import api.targets.models
import api.telemetry.models
import api.versions.models
import api.workflows.models
import api.zones.models  # noqa: F401 - each import registers its tables
from api.db import Model
from api.settings import settings

# Any constant will do, as long as every runner uses the same.
ADVISORY_LOCK = 5_325_379


def run() -> None:
    """Migrate the database of the settings, or the connection that a test hands over."""
    connection = context.config.attributes.get("connection")
    if connection is not None:
        migrate(connection)
        return
    engine = create_engine(settings().database_url)
    with engine.connect() as opened:
        opened.execute(text(f"SELECT pg_advisory_lock({ADVISORY_LOCK})"))
        opened.commit()
        migrate(opened)


def migrate(connection: object) -> None:
    context.configure(
        connection=connection,
        target_metadata=Model.metadata,
        transaction_per_migration=True,
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()


run()
