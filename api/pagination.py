"""Pages: `page` and `per_page` in, one page and `result_info` out.

An SDK asks for page 2, 3 … until a page comes back empty and ignores `result_info`; wrangler goes by
`result_info` (cloudflare-api.md, rules 7, 9 and 10). Honouring both parameters serves all of them.
"""

from typing import Annotated, Any, Generic, TypeVar

from fastapi import Depends, Query
from pydantic import BaseModel
from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

Row = TypeVar("Row")

# A page number above this cannot hold anything and would overflow Postgres' bigint offset.
LAST_PAGE = 1_000_000


class Page(BaseModel):
    """Which part of a list is wanted, counted from 1."""

    page: int = 1
    per_page: int = 50

    @property
    def offset(self) -> int:
        return (self.page - 1) * self.per_page


def requested_page(
    page: Annotated[int, Query(ge=1, le=LAST_PAGE, description="Counted from 1.")] = 1,
    per_page: Annotated[int, Query(ge=1, le=1000)] = 50,
) -> Page:
    return Page(page=page, per_page=per_page)


RequestedPage = Annotated[Page, Depends(requested_page)]


class Listing(Generic[Row]):
    """One page of rows and the number of all."""

    def __init__(self, rows: list[Row], total: int, page: Page) -> None:
        self.rows = rows
        self.total = total
        self.page = page

    def info(self) -> dict[str, int]:
        """`result_info` as Cloudflare's lists carry it."""
        return {
            "page": self.page.page,
            "per_page": self.page.per_page,
            "count": len(self.rows),
            "total_count": self.total,
            "total_pages": -(-self.total // self.page.per_page),
        }


def paginate(session: Session, query: Select[Row], page: Page) -> Listing[Row]:
    """Run an ordered select for one page and count what it would give without limits."""
    total = session.scalar(select(func.count()).select_from(query.order_by(None).subquery())) or 0
    rows = session.scalars(query.offset(page.offset).limit(page.per_page)).all()
    return Listing(list(rows), total, page)


def page_of_list(rows: list[Any], page: Page) -> Listing[Any]:
    """One page of a list that is in memory."""
    return Listing(rows[page.offset : page.offset + page.per_page], len(rows), page)
