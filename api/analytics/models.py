"""What scripts wrote with `writeDataPoint`. Rows come by the million, so this is a table and no class."""

from sqlalchemy import ARRAY, Column, DateTime, Float, Index, String, Table

from api.db import Model

data_points = Table(
    "data_points",
    Model.metadata,
    Column("account_id", String, nullable=False),
    Column("dataset", String, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, index=True),
    Column("script_id", String, nullable=False),
    Column("index1", String, nullable=False),
    Column("blobs", ARRAY(String), nullable=False),  # at most 20; those after the last are empty
    Column("doubles", ARRAY(Float), nullable=False),
    Index("ix_data_points_account_id_dataset_at", "account_id", "dataset", "at"),
)
