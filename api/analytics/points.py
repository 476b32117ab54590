"""Keeping data points: as nodes send them, and for as long as the settings say."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from api.analytics.models import data_points
from api.clock import now
from api.settings import settings

# The clock of a node may be wrong by so much.
AHEAD_MAX = timedelta(hours=1)
_COLUMNS = ("at", "account_id", "script_id", "dataset", "index1", "blobs", "doubles")

_Text = Annotated[str, Field(max_length=16 * 1024, pattern=r"^[^\x00]*$")]
_Number = Annotated[float, Field(allow_inf_nan=False)]
Point = tuple[
    Annotated[int, Field(ge=0, le=4_000_000_000_000_000)],
    _Text,
    _Text,
    _Text,
    _Text,
    Annotated[list[_Text], Field(max_length=20)],
    Annotated[list[_Number], Field(max_length=20)],
]
"""As the agent sends it (edge/agent/records/points.py)."""


@dataclass(frozen=True)
class Dataset:
    name: str
    points: int
    last_at: datetime


def store(session: Session, points: Iterable[Point]) -> None:
    # To the second, as the SQL shows it and groups by it.
    latest, oldest = now() + AHEAD_MAX, _oldest()
    timed = ((min(datetime.fromtimestamp(one[0] // 1_000_000, UTC), latest), one) for one in points)
    kept = [(at, one) for at, one in timed if at >= oldest]
    if not kept:
        return
    driver: Any = session.connection().connection.driver_connection
    command = f"COPY {data_points.name} ({', '.join(_COLUMNS)}) FROM STDIN"
    with driver.cursor() as cursor, cursor.copy(command) as copy:
        for at, one in kept:
            copy.write_row((at, *one[1:6], [float(value) for value in one[6]]))


def datasets(session: Session, account_id: str) -> list[Dataset]:
    """Those of an account that have points, by name."""
    of = data_points.c
    query = (
        select(of.dataset, func.count(), func.max(of.at))
        .where(of.account_id == account_id)
        .group_by(of.dataset)
        .order_by(of.dataset)
    )
    return [Dataset(*row) for row in session.execute(query)]


def expire(session: Session) -> None:
    """Delete what is older than it may be."""
    session.execute(delete(data_points).where(data_points.c.at < _oldest()))


def _oldest() -> datetime:
    return now() - timedelta(days=settings().data_point_retention_days)
